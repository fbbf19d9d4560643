//! What stands behind the question mark of a path.

use std::str::FromStr;

use axum::http::Uri;

/// A value by its name; none when it is not there, or not what it should be.
pub(super) fn value<T: FromStr>(uri: &Uri, name: &str) -> Option<T> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).find_map(|(_, value)| value.parse().ok())
}
