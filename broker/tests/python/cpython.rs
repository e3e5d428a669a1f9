//! CPython's own tests of managers pass, but for those that need it to run functions of theirs.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::fixtures::{Bar, Foo, Squares};
use crate::{House, PYTHONS, ran, run, script};

const NAMES: &str = r#"
    [names]
    Foo = "new:foo/1"
    Bar = "new:bar/1"
    baz = "new:squares/1"
    get_queue = "Queue:xml"
"#;

/// How many pass and how many do not, as the summary of `unittest` says it.
async fn passed(python: &Path, method: &str) -> usize {
    let more = |builder: ganger_broker::Builder| {
        builder.object::<Foo>().object::<Bar>().object::<Squares>()
    };
    let house = House::with(NAMES, |_, _| {}, more).await;
    let mut program = house.program(python, script("cpython.py"));
    program.env("START_METHOD", method);
    let output = ran(program).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let name = python.display();
    assert!(output.status.success(), "CPython's tests in {name} with {method} fail: {said}");
    said.lines().filter(|line| line.ends_with("... ok")).count()
}

#[test]
fn tests_of_cpython_pass_in_the_newest_python() {
    run(async {
        let has_tests = |python: &&std::path::PathBuf| {
            let mut import = Command::new(python);
            import.args(["-c", "import test._test_multiprocessing"]).stderr(Stdio::null());
            import.status().is_ok_and(|status| status.success())
        };
        let newest = PYTHONS
            .iter()
            .rfind(has_tests)
            .expect("a Python has its tests with it: on Debian they are libpython3-testsuite");
        let ok = passed(newest, "fork").await;
        assert!(ok >= 50, "only {ok} of CPython's tests were found");
    });
}

#[test]
#[ignore = "slow: some minutes; CI_DEEP=1 runs it"]
fn tests_of_cpython_pass_in_each_python_with_each_way_to_start_a_process() {
    for python in PYTHONS.iter() {
        for method in ["fork", "spawn", "forkserver"] {
            let ok = run(passed(python, method));
            println!("{} with {method}: {ok} ok", python.display());
        }
    }
}
