//! The settings of a run: each option is one field of [`RunConfig`] or of a struct in it, with its
//! name, help, default and meaning.
//!
//! *What it is:* options come from the command line, the environment (`CROSSFADE_…`) and a TOML
//! file, in this order of precedence, are put together as one line of arguments, and read by clap.
//!
//! *Guarantees:* every fault is reported, not only the first, each with the option and the place
//! that it came from; passwords and tokens are in no message and no `Debug` output.
//!
//! *Must not know:* sockets, what the settings do.

mod parse;
mod run;
mod servers;
mod settings;
#[cfg(test)]
mod tests;

use std::fs;

use settings::{Origin, Settings};

pub(crate) use parse::{percent, seconds};
pub use run::{Ack, Copying, LogFormat, RunConfig, Scripts, TargetPolicy};
pub use servers::Servers;
pub use settings::Faults;

/// Reads the settings. `given` has what the command line says, by the long names of the options; one
/// of them may be `config`, the file's name.
pub fn read(
    given: &toml::Table,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<RunConfig, Faults> {
    let mut settings = Settings::default();
    settings.add(&Origin::CommandLine, given);
    settings.add_variables(variables);
    if let Some(path) = settings.text("config").map(str::to_owned) {
        let table = file(&path).map_err(Faults::from)?;
        settings.add(&Origin::File(path), &table);
    }
    settings.parse()?.complete(&settings)
}

/// The variables of the process, as text.
pub(crate) fn process_variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().map(|(name, value)| {
        (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
    })
}

fn file(path: &str) -> Result<toml::Table, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("--config {path:?}: {error}"))?;
    text.parse().map_err(|error: toml::de::Error| {
        // The error's own picture of the line would repeat what may be a password.
        let line = error.span().and_then(|span| text.get(..span.start));
        let line = line.map_or(1, |before| before.matches('\n').count() + 1);
        format!("{path}:{line}: {}", error.message().replace('\n', " "))
    })
}
