//! Stories in text files: what clients say, and what the machine answers.
//!
//! `tests/scenarios/*.txt` are sections of commands, `----` and the answers. `UPDATE_SCENARIOS=1`
//! writes the answers anew; read the difference before you keep it. The commands are those of
//! [`commands`], one a line; every one is followed by [`Machine::check`].

mod commands;
mod objects;
mod show;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use commands::World;

/// One section: its comments and commands as they stand, and the answers they are to have.
struct Section<'a> {
    commands: Vec<&'a str>,
    expected: String,
}

fn sections(text: &str) -> Vec<Section<'_>> {
    let mut sections = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.peek() {
        if line.is_empty() {
            lines.next();
            continue;
        }
        let commands = lines.by_ref().take_while(|line| *line != "----").collect();
        let mut expected = String::new();
        while let Some(line) = lines.next_if(|line| !line.is_empty()) {
            writeln!(expected, "{line}").unwrap();
        }
        sections.push(Section { commands, expected });
    }
    sections
}

/// The whole story with the answers that the machine gives.
fn tell(path: &Path, text: &str) -> String {
    let mut world = World::default();
    let mut told = String::new();
    for section in sections(text) {
        let mut answers = String::new();
        for line in &section.commands {
            writeln!(told, "{line}").unwrap();
            let command = line.split("  # ").next().unwrap().trim();
            if command.is_empty() || command.starts_with('#') {
                continue;
            }
            world.run(command, &mut answers).unwrap_or_else(|problem| {
                panic!("{}: {command:?}: {problem}", path.display());
            });
        }
        let has_commands = section.commands.iter().any(|l| !l.is_empty() && !l.starts_with('#'));
        if has_commands || !section.expected.is_empty() {
            writeln!(told, "----\n{answers}").unwrap();
        } else {
            writeln!(told).unwrap();
        }
    }
    told.truncate(told.trim_end().len());
    told.push('\n');
    told
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_story_goes_as_told() {
    let mut differing = Vec::new();
    for path in files() {
        let text = std::fs::read_to_string(&path).unwrap();
        let told = tell(&path, &text);
        if told == text {
            continue;
        }
        if std::env::var_os("UPDATE_SCENARIOS").is_some() {
            std::fs::write(&path, told).unwrap();
            continue;
        }
        let (mut at, mut expected, mut found) = (0, "", "");
        for (number, (a, b)) in (1..).zip(text.lines().zip(told.lines())) {
            if a != b {
                (at, expected, found) = (number, a, b);
                break;
            }
        }
        differing
            .push(format!("{}:{at}\n  expected  {expected}\n  found     {found}", path.display()));
    }
    assert!(differing.is_empty(), "{}\n(UPDATE_SCENARIOS=1 rewrites)", differing.join("\n"));
}
