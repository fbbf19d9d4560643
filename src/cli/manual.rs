//! `crossfade completions` and `crossfade man`: what shells and readers want to know of this command
//! line, made from it as it is.

use std::fs;
use std::io::{self, Write, stdout};
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::Cli;
use crate::failure::Failure;

#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  crossfade completions bash > /usr/share/bash-completion/completions/crossfade
  crossfade completions zsh > /usr/share/zsh/vendor-completions/_crossfade
  crossfade completions fish > /usr/share/fish/vendor_completions.d/crossfade.fish")]
pub(super) struct Completions {
    /// For which shell
    shell: Shell,
}

pub(super) fn complete(args: &Completions) {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "crossfade", &mut script);
    print(&script);
}

#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  crossfade man | man -l -
  crossfade man --dir /usr/share/man/man1")]
pub(super) struct Manual {
    /// Write a page for each command there, instead of printing the first
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn manual(args: &Manual) -> Result<(), Failure> {
    let pages = pages(whole());
    let Some(directory) = &args.dir else {
        pages.first().into_iter().for_each(|(_, page)| print(page));
        return Ok(());
    };
    let kept = pages.iter().try_for_each(|(name, page)| keep(directory, name, page));
    kept.map_err(|error| Failure::no(format!("--dir {}: {error}", directory.display())))
}

fn keep(directory: &Path, name: &str, page: &[u8]) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    fs::write(directory.join(format!("{name}.1")), page)
}

/// The command line, with what clap adds only when it is used.
fn whole() -> Command {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    command
}

/// A page for each command, the one for all of them first.
fn pages(command: Command) -> Vec<(String, Vec<u8>)> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let commands: Vec<Command> = command.get_subcommands().cloned().collect();
    let mut page = Vec::new();
    // Nothing fails to be written into memory.
    let _ = Man::new(command).render(&mut page);
    let more = commands.into_iter().flat_map(pages);
    std::iter::once((name, page)).chain(more).collect()
}

/// As it is: shells and `man` want no control character shown. A reader that has gone away wants no
/// more of it.
fn print(text: &[u8]) {
    let mut stdout = stdout().lock();
    let _ = stdout.write_all(text).and_then(|()| stdout.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_is_completed() {
        let pages = pages(whole());
        let mut bash = Vec::new();
        clap_complete::generate(Shell::Bash, &mut Cli::command(), "crossfade", &mut bash);
        let bash = String::from_utf8(bash).unwrap();
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            assert!(pages.iter().any(|(page, _)| *page == format!("crossfade-{name}")), "{name}");
            assert!(bash.contains(&format!(" {name}")), "{name} is not completed");
        }
    }
}
