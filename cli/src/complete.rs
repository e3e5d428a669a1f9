//! Completions and man pages, made from the tree of commands.
//!
//! Rendered to memory first: the makers of both end the process with a panic where the reader has
//! gone away.

use std::fs;
use std::io;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::args::Ganger;
use crate::exit::{Failure, Result};
use crate::output;

/// `ganger completion SHELL`.
pub(crate) fn completion(shell: Shell) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Ganger::command(), "ganger", &mut script);
    output::print(&String::from_utf8_lossy(&script))
}

/// `ganger man [DIR]`.
pub(crate) fn man(dir: Option<&Path>) -> Result {
    let mut command = Ganger::command();
    command.build();
    let Some(dir) = dir else {
        let page = page(&command).map_err(|error| Failure::io("cannot make the page", &error))?;
        return output::print(&String::from_utf8_lossy(&page));
    };
    let doing = format!("cannot write into {}", dir.display());
    let count = pages(&command, dir).map_err(|error| Failure::io(&doing, &error))?;
    output::note(&format!("{count} pages are in {}", dir.display()));
    Ok(())
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    Ok(page)
}

fn pages(command: &Command, dir: &Path) -> io::Result<u32> {
    fs::create_dir_all(dir)?;
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    fs::write(dir.join(format!("{name}.1")), page(command)?)?;
    let mut count = 1;
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        count += pages(below, dir)?;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tree_of_commands_keeps_the_rules_of_clap() {
        Ganger::command().debug_assert();
    }

    #[test]
    fn every_command_has_a_page_and_every_leaf_an_example() {
        fn walk(command: &Command) {
            let leaf = command.get_subcommands().next().is_none();
            let name = command.get_display_name().unwrap_or_else(|| command.get_name());
            if leaf && !name.ends_with("exit-codes") {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("  ganger "), "{name} has no example");
            }
            command.get_subcommands().filter(|below| below.get_name() != "help").for_each(walk);
        }
        let mut command = Ganger::command();
        command.build();
        walk(&command);
        let dir = tempfile::tempdir().unwrap();
        pages(&command, dir.path()).unwrap();
        assert!(dir.path().join("ganger-queue-pause.1").exists());
    }
}
