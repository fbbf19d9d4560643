//! The settings of a run: raw options in, one validated value out.
//!
//! *What it is:* options come from the command line, the environment (`CROSSFADE_…`) and a TOML
//! file, in this order of precedence, and become a [`RunConfig`] once; nobody looks at raw options
//! after.
//!
//! *Guarantees:* every fault is reported, not only the first, each with the option and the place
//! that it came from; passwords and tokens are in no message and no `Debug` output.
//!
//! *Must not know:* clap, sockets, what the settings do.

mod front;
mod parse;
mod reader;
mod run;
mod servers;
#[cfg(test)]
mod tests;

use std::fs;

use reader::{Layer, Reader};

pub use reader::Faults;
pub use run::{Ack, LogFormat, RunConfig, Scripts, TargetPolicy};
pub use servers::Servers;

/// Reads the settings. `options` are those of the command line by their long names; one of them
/// may be `config`, the file's name.
///
/// # Errors
/// Everything that is wrong.
pub fn read(
    options: &toml::Table,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<RunConfig, Faults> {
    let mut layers = vec![Layer::command_line(options), Layer::environment(variables)];
    let mut reader = Reader::new(layers.clone());
    if let Some(path) = reader.optional("config", parse::any::<String>) {
        layers.push(file(&path).map_err(Faults::one)?);
        reader = Reader::new(layers);
    }
    let config = RunConfig::read(&mut reader);
    reader.finish(config)
}

/// The variables of the process, as text.
pub fn process_variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().map(|(name, value)| {
        (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
    })
}

fn file(path: &str) -> Result<Layer, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("--config {path:?}: {error}"))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        // The error's own picture of the line would repeat what may be a password.
        let line = error.span().and_then(|span| text.get(..span.start));
        let line = line.map_or(1, |before| before.matches('\n').count() + 1);
        format!("{path}:{line}: {}", error.message().replace('\n', " "))
    })?;
    Ok(Layer::file(path, &table))
}
