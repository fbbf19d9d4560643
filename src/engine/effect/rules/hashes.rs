//! Hashes.

use super::context::{answers, steps, with_items};
use crate::engine::effect::{Executed, Outcome};
use crate::protocol::resp::{Reply, Request};

pub(super) fn set_if_absent(executed: &Executed<'_>) -> Option<Outcome> {
    if executed.changed_nothing() {
        return Some(Outcome::Nothing);
    }
    let (key, field, value) = (executed.arg(1)?, executed.arg(2)?, executed.arg(3)?);
    executed.checked(key, [answers(Request::new([b"HSET", key, field, value]), 1)])
}

/// `HSET` would take the field's end away, which `HINCRBYFLOAT` keeps: it is given again.
pub(super) fn incr_by_float(executed: &Executed<'_>) -> Option<Outcome> {
    executed.set_fields(&[executed.request.arg_bytes(2)?, executed.reply.text()?.clone()])
}

/// `HGETDEL key FIELDS n field…` answers with a value for each field that was there.
pub(super) fn get_and_delete(executed: &Executed<'_>) -> Option<Outcome> {
    let key = executed.arg(1)?;
    let values = executed.reply.items()?;
    let mut fields = Vec::new();
    for (index, value) in values.iter().enumerate() {
        if *value != Reply::Null {
            fields.push(executed.request.arg_bytes(index + 4)?);
        }
    }
    if fields.is_empty() {
        return Some(Outcome::Nothing);
    }
    Some(steps([answers(with_items([b"HDEL", key], &fields), fields.len())]))
}
