//! Who comes in, and what programs find.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Stdio;

use ganger_broker::Broker;
use ganger_broker::config::Config;

use crate::{House, PYTHONS, example, program, ran, run, script, succeeded, version};

const NAMES: &str = r#"
    [names]
    get_my_list = "list:my_list"
    get_tasks = "Queue:tasks"
    get_seen = "dict:seen"
"#;

#[test]
fn every_type_does_in_each_python_what_its_own_manager_does() {
    run(async {
        let house = House::open(NAMES).await;
        for python in PYTHONS.iter() {
            let output = ran(house.program(python, script("every_type.py"))).await;
            succeeded(&format!("every_type.py in {}", python.display()), &output);
        }
    });
}

#[test]
fn wrong_key_is_refused_in_each_python_and_says_nothing_more() {
    run(async {
        let house = House::open(NAMES).await;
        for python in PYTHONS.iter() {
            let mut program = house.program(python, script("every_type.py"));
            let output = ran({
                program.env("GANGER_AUTHKEY", "another");
                program
            });
            let output = output.await;
            let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(complaint.contains("AuthenticationError"), "{}: {complaint}", python.display());
        }
    });
}

#[test]
fn md5_can_be_refused_and_newer_pythons_need_none() {
    run(async {
        let house = House::open(&format!("md5 = false\n{NAMES}")).await;
        for python in PYTHONS.iter() {
            let output = ran(house.program(python, script("every_type.py"))).await;
            let is_new = version(python).unwrap() >= [3, 12];
            assert_eq!(output.status.success(), is_new, "{}", python.display());
        }
    });
}

#[test]
fn unix_socket_serves_programs_of_this_machine() {
    run(async {
        let on_path = |config: &mut Config, folder: &Path| {
            let path = folder.join("python.sock");
            config.python.listen = Some(path.to_str().unwrap().to_owned());
        };
        let house = House::with(NAMES, on_path, |builder| builder).await;
        assert!(house.address().ends_with("/python.sock"));
        let newest = PYTHONS.last().unwrap();
        let output = ran(house.program(newest, script("every_type.py"))).await;
        succeeded("every_type.py", &output);
    });
}

#[test]
fn item_for_a_program_that_was_killed_while_it_waited_goes_to_the_next() {
    run(async {
        let house = House::open(NAMES).await;
        let python = PYTHONS.last().unwrap();
        let output = ran(house.program(python, script("killed.py"))).await;
        assert_eq!(succeeded("killed.py", &output), "item\n");
    });
}

#[test]
fn call_after_a_wait_that_was_broken_off_is_not_given_the_answer_of_the_wait() {
    run(async {
        let house = House::open(NAMES).await;
        for python in PYTHONS.iter() {
            let output = ran(house.program(python, script("interrupted.py"))).await;
            succeeded(&format!("interrupted.py in {}", python.display()), &output);
        }
    });
}

#[test]
fn classes_that_are_not_on_the_list_are_refused_by_name() {
    run(async {
        let house = House::open("classes = [\"decimal.Decimal\"]").await;
        for python in PYTHONS.iter() {
            let output = ran(house.program(python, script("classes.py"))).await;
            succeeded(&format!("classes.py in {}", python.display()), &output);
        }
    });
}

#[test]
fn objects_of_a_durable_broker_are_the_same_after_its_restart() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let start = async || {
            let mut config = House::config(NAMES, folder.path());
            // An address that the next broker has too.
            let path = folder.path().join("python.sock");
            config.python.listen = Some(path.to_str().unwrap().to_owned());
            config.data = Some(folder.path().join("data"));
            config.journal.any_filesystem = true;
            Broker::builder().config(config).pipes_only().start().await.unwrap()
        };
        let broker = start().await;
        let newest = PYTHONS.last().unwrap();
        let mut program = program(&broker, newest, script("restarted.py"));
        let mut program = program.stdin(Stdio::piped()).spawn().unwrap();
        let mut said = program.stdout.take().unwrap();
        let ready = ganger_rt::unblock(move || {
            let mut ready = [0; 6];
            said.read_exact(&mut ready).unwrap();
            ready
        });
        assert_eq!(&ready.await, b"ready\n");
        broker.stop().await.unwrap();
        let _broker = start().await;
        program.stdin.take().unwrap().write_all(b"restarted\n").unwrap();
        let output = ganger_rt::unblock(move || program.wait_with_output().unwrap()).await;
        succeeded("restarted.py", &output);
    });
}

#[test]
fn examples_do_what_they_say() {
    run(async {
        let house = House::open(
            "[names]\nget_my_list = \"list:my_list\"\ntasks = \"Queue:t\"\nresults = \"dict:r\"\n",
        );
        let house = house.await;
        for python in PYTHONS.iter() {
            let output = ran(house.program(python, example("five_workers.py"))).await;
            let said = succeeded("five_workers.py", &output);
            assert!(said.contains("results before mine"), "{said}");
            assert!(said.ends_with("result of worker 4\n"), "{said}");
            let mut worker = house.program(python, example("tasks.py"));
            let worker = worker.arg("worker").spawn().unwrap();
            let output = ran(house.program(python, example("tasks.py"))).await;
            assert_eq!(succeeded("tasks.py", &output), "[0, 2, 4, 6, 8]\n");
            let output = ganger_rt::unblock(move || worker.wait_with_output().unwrap()).await;
            succeeded("tasks.py worker", &output);
        }
    });
}

#[test]
fn producer_and_workers_of_different_pythons_share_a_queue_and_a_list() {
    run(async {
        let house = House::open(NAMES).await;
        let mut workers = Vec::new();
        for python in PYTHONS.iter() {
            let mut command = house.program(python, script("worker.py"));
            workers.push(command.stdout(Stdio::null()).spawn().unwrap());
        }
        let oldest = &PYTHONS[0];
        let mut producer = house.program(oldest, script("producer.py"));
        producer.env("WORKERS", PYTHONS.len().to_string());
        let output = ran(producer).await;
        assert_eq!(succeeded("producer.py", &output), "200 squares\n");
        for worker in workers {
            let output = ganger_rt::unblock(move || worker.wait_with_output().unwrap()).await;
            succeeded("worker.py", &output);
        }
    });
}
