//! What is said without a broker.

use std::process::Stdio;

use crate::support::{ganger, run};

#[test]
fn help_and_usage_errors_read_as_they_should() {
    trycmd::TestCases::new()
        .env("COLUMNS", "100")
        .default_bin_path(crate::support::GANGER)
        .case("tests/cmd/*.trycmd");
}

#[test]
fn the_readme_shows_what_the_demonstration_says() {
    trycmd::TestCases::new().default_bin_path(crate::support::GANGER).case("../README.md");
}

#[test]
fn missing_broker_is_said_with_what_to_try() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, format!("gk1_{}\n", "07".repeat(32))).unwrap();
    let mut command = ganger(["status", "--broker", "127.0.0.1:1", "--key-file"]);
    command.arg(&key);
    let error = run(command).failed(5);
    assert!(error.contains("broker 127.0.0.1:1 cannot be reached"), "{error}");
    assert!(error.contains("try: ") && error.contains("ganger broker"), "{error}");
}

#[test]
fn missing_key_is_not_authorised() {
    let error = run(ganger(["status", "--key-file", "/nonexistent/key"])).failed(4);
    assert!(error.contains("/nonexistent/key"), "{error}");
}

#[test]
fn reader_that_goes_away_ends_it_quietly() {
    for args in [&["completion", "bash"][..], &["completion", "zsh"], &["man"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = ganger(args);
        let output = command.stdout(Stdio::from(writer)).stderr(Stdio::piped()).spawn().unwrap();
        let output = output.wait_with_output().unwrap();
        assert_eq!((output.status.code(), &output.stderr[..]), (Some(141), &b""[..]), "{args:?}");
    }
}

#[test]
fn completions_and_man_pages_name_the_nouns() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(run(ganger(["completion", shell])).ok().contains("submit"), "{shell}");
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = ganger(["man"]);
    run({
        command.arg(folder.path());
        command
    })
    .ok();
    assert!(folder.path().join("ganger.1").exists());
    assert!(folder.path().join("ganger-dead-retry.1").exists());
}
