//! Jobs run by commands, and the `ganger-worker` program.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use ganger_broker::Broker;
use ganger_shared::DeathReason;
use ganger_worker::exec::{Exec, Template};
use ganger_worker::{Client, JobFailed, Router, Worker};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;

use crate::support::{connect, run, with_broker};

/// A worker that runs `script` for the jobs of queue `q`.
async fn exec(broker: &Broker, exec: Exec) -> ganger_rt::Task<()> {
    let router = Router::new().handle_any(move |payload, ctx| exec.clone().run(payload, ctx));
    let worker = Worker::new(connect(broker).await).queue("q").router(router);
    ganger_rt::spawn(async move { worker.run().await.unwrap() })
}

fn shell(script: &str) -> Exec {
    Exec::new(Template::shell(script))
}

fn failure(result: Result<bytes::Bytes, JobFailed>) -> (DeathReason, String, String) {
    match result {
        Err(JobFailed::Dead { reason, failure: Some(failure), .. }) => {
            (reason, failure.kind, failure.message)
        }
        other => panic!("expected a dead letter: {other:?}"),
    }
}

#[test]
fn command_gets_the_payload_and_gives_the_result() {
    with_broker(|broker, client| async move {
        let _worker = exec(&broker, shell("tr a-z A-Z; printf ' %s' \"$GANGER_ATTEMPT\"")).await;
        let output = client.submit("q", "shout").result().await.unwrap();
        assert_eq!(output, "SHOUT 1");
    });
}

#[test]
fn large_payload_goes_through_a_command_that_answers_while_it_reads() {
    with_broker(|broker, client| async move {
        let _worker = exec(&broker, shell("cat")).await;
        let payload: Vec<u8> = (0..3_000_000_u32).map(|i| i.to_le_bytes()[0]).collect();
        assert_eq!(client.submit("q", payload.clone()).result().await.unwrap(), payload);
    });
}

#[test]
fn exit_status_says_how_the_job_ends() {
    with_broker(|broker, client| async move {
        let script = "read status; echo \"said $status\" >&2; exit $status";
        let _worker = exec(&broker, shell(script).dead_on([65])).await;
        let submit = |text: &'static str| client.submit("q", text).retries(1);
        let backoff = Duration::ZERO;
        assert_eq!(submit("0\n").result().await.unwrap(), "");
        let failed = failure(submit("3\n").backoff(backoff, backoff).result().await);
        let expected = (DeathReason::RetriesUsedUp, "exit-3".to_owned(), "said 3".to_owned());
        assert_eq!(failed, expected);
        let dead = failure(submit("65\n").result().await);
        assert_eq!(dead, (DeathReason::Handler, "exit-65".to_owned(), "said 65".to_owned()));
    });
}

#[test]
fn command_killed_by_a_signal_is_a_failure_that_names_it() {
    with_broker(|broker, client| async move {
        let _worker = exec(&broker, shell("kill -SEGV $$")).await;
        let (_, kind, message) = failure(client.submit("q", "").retries(0).result().await);
        assert_eq!((&kind[..], &message[..]), ("signal-11", "killed by signal 11"));
    });
}

#[test]
fn endless_output_is_cut_off_and_its_writer_killed() {
    with_broker(|broker, client| async move {
        let _worker = exec(&broker, shell("yes").output_bytes_max(100_000)).await;
        let (_, kind, _) = failure(client.submit("q", "").result().await);
        assert_eq!(kind, "output-too-large");
    });
}

fn is_alive(pid: &str) -> bool {
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    // A killed process that nobody has waited for yet is no longer alive either.
    let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    test_kill_process(pid).is_ok() && state.is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn time_limit_kills_the_whole_process_group() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("pids");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    with_broker(|broker, client| async move {
        // The child keeps the shell's output open, so that the job does not end with the shell.
        let script = format!("sleep 600 & echo $! > {}; exit 0", fifo.display());
        let _worker = exec(&broker, shell(&script)).await;
        let submit = client.submit("q", "").retries(0).time_limit(Duration::from_millis(300));
        let job = submit.notify().await.unwrap();
        let pid = ganger_rt::unblock(move || std::fs::read_to_string(fifo).unwrap()).await;
        assert!(is_alive(&pid));
        let (_, kind, _) = failure(job.result().await);
        assert_eq!(kind, "timeout");
        while is_alive(&pid) {
            ganger_rt::yield_now().await;
        }
    });
    drop(folder);
}

#[test]
fn cancelled_command_is_asked_to_end_before_it_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("ready");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let noted = folder.path().join("noted");
    with_broker(|broker, client| async move {
        let script = format!(
            "trap 'echo asked > {}; exit 1' TERM; echo > {}; while :; do sleep 0.01; done",
            noted.display(),
            fifo.display()
        );
        let _worker = exec(&broker, shell(&script)).await;
        let job = client.submit("q", "").notify().await.unwrap();
        ganger_rt::unblock(move || std::fs::read_to_string(fifo).unwrap()).await;
        job.cancel().await.unwrap();
        assert!(matches!(job.result().await, Err(JobFailed::Cancelled { .. })));
        assert_eq!(std::fs::read_to_string(&noted).unwrap(), "asked\n");
    });
    drop(folder);
}

/// A broker with a port and a key file, as the program finds them.
async fn listening() -> (Arc<Broker>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::builder()
        .listen("127.0.0.1:0")
        .key_file(folder.path().join("key"))
        .in_memory()
        .start()
        .await
        .unwrap();
    (Arc::new(broker), folder)
}

fn program(broker: &str, key_file: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ganger-worker"));
    command.args(["--broker", broker, "--key-file"]).arg(key_file).args(args);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).stderr(Stdio::piped());
    command
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

async fn client(broker: &Broker) -> Client {
    connect(broker).await
}

#[test]
fn program_runs_commands_and_drains_on_sigterm() {
    run(async {
        let (broker, folder) = listening().await;
        let args = ["--queue", "q", "--exec", "printf 'name %s' {/}", "--concurrency", "2"];
        let address = broker.addr().to_string();
        let mut child = program(&address, &folder.path().join("key"), &args).spawn().unwrap();
        let output = client(&broker).await.submit("q", "/tmp/$(id)").result().await.unwrap();
        assert_eq!(output, "name $(id)");
        signal(&child, Signal::TERM);
        let status = ganger_rt::unblock(move || child.wait().unwrap()).await;
        assert_eq!(status.code(), Some(0));
    });
}

#[test]
fn second_signal_ends_the_program_at_once_and_its_job_is_given_back() {
    run(async {
        let (broker, folder) = listening().await;
        let args = ["--queue", "q", "--exec", "if read -r x; then echo; else sleep 600; fi"];
        let address = broker.addr().to_string();
        let mut child = program(&address, &folder.path().join("key"), &args).spawn().unwrap();
        let client = client(&broker).await;
        // The first job shows that the worker is there; the second one stays.
        client.submit("q", "x\n").result().await.unwrap();
        let job = client.submit("q", "").retries(0).crash_retries(0).await.unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        signal(&child, Signal::INT);
        let (child, draining) =
            ganger_rt::unblock(move || (child, log.any(|line| line.unwrap().contains("draining"))))
                .await;
        assert!(draining);
        signal(&child, Signal::INT);
        let mut child = child;
        let status = ganger_rt::unblock(move || child.wait().unwrap()).await;
        assert_eq!(status.code(), Some(130));
        let subscription = client.queue("q").unwrap().subscribe(1);
        let delivery = subscription.pull().await.unwrap().unwrap();
        assert_eq!((delivery.job(), delivery.attempt()), (job.id(), 1));
        delivery.ack("").await.unwrap();
    });
}

fn complaint(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn program_says_in_one_sentence_why_it_does_not_start() {
    run(async {
        let (broker, folder) = listening().await;
        let key = folder.path().join("key");
        let other = folder.path().join("other");
        std::fs::write(&other, ganger_shared::key::Key::generate().unwrap().to_text()).unwrap();
        let address = broker.addr().to_string();
        let echo = ["--queue", "q", "--handler", "echo"];
        let nowhere = ["--queue", "q", "--handler", "echo", "--connect-timeout", "0s"];
        let cases = [
            (program(&address, &other, &echo), 4, "does not accept this client"),
            (program("127.0.0.1:1", &key, &nowhere), 5, "127.0.0.1:1 cannot be reached"),
            (program(&address, &folder.path().join("no"), &echo), 4, "cannot be read"),
            (
                program(&address, &key, &["--queue", "q", "--handler", "x"]),
                2,
                "echo, sleep, blake3",
            ),
            (program(&address, &key, &["--queue", "q"]), 2, "--exec"),
            (program(&address, &key, &["--queue", "q q", "--handler", "echo"]), 2, "\"q q\""),
        ];
        for (command, code, text) in cases {
            let (status, stderr) = ganger_rt::unblock(move || complaint(command)).await;
            assert_eq!(status, Some(code), "{stderr}");
            assert!(stderr.contains(text), "{stderr}");
            assert!(stderr.starts_with("error: "), "{stderr}");
        }
    });
}
