//! The daemon as an operator meets it: what it prints, what it says when it cannot start, and how
//! it ends.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ganger_shared::Response;
use ganger_shared::key::Key;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use crate::client::{Client, Raw};
use crate::run;

/// The daemon with a folder of its own for a home, and nothing of ours in its environment.
fn daemon(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ganger-broker"));
    command.env_clear().env("HOME", home).env("GANGER_LOG", "warn");
    command
}

/// What a daemon that does not start says: standard error and the exit code.
fn refusal(command: &mut Command) -> (String, Option<i32>) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert_eq!(String::from_utf8(stdout).unwrap(), "");
    (String::from_utf8(stderr).unwrap(), status.code())
}

/// A daemon that serves.
struct Daemon {
    child: Child,
    /// The first line of its standard output.
    line: String,
}

impl Daemon {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, line }
    }

    fn address(&self) -> String {
        let rest = self.line.strip_prefix("ganger-broker listening on ").expect("the line");
        rest.split_once(", key in ").expect("the line").0.to_owned()
    }

    fn key(&self) -> Key {
        let path = self.line.trim_end().split_once(", key in ").expect("the line").1;
        Key::parse_file(&fs::read_to_string(path).unwrap()).unwrap().swap_remove(0)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its exit code and what was left on standard error.
    fn end(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap();
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (status.code(), log)
    }

    /// Resident memory in bytes.
    fn memory(&self) -> usize {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
        pages * 4096
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn daemon_makes_a_key_serves_and_ends_on_a_signal() {
    let home = tempfile::tempdir().unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let daemon = Daemon::start(daemon(home.path()).args(["--listen", "127.0.0.1:0"]));
        let key_file = home.path().join(".config/ganger/key");
        let line = format!(
            "ganger-broker listening on {}, key in {}\n",
            daemon.address(),
            key_file.display()
        );
        assert_eq!(daemon.line, line);
        assert_eq!(fs::metadata(&key_file).unwrap().permissions().mode() & 0o777, 0o600);
        run(async {
            let mut client = Client::tcp(&daemon.address(), &daemon.key()).await;
            client.is_served().await;
            daemon.signal(signal);
            let told = ("the broker is stopping".to_owned(), true);
            assert_eq!(client.raw.goodbye().await, told);
        });
        assert_eq!(daemon.end(), (Some(0), String::new()));
    }
}

#[test]
fn port_in_use_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (told, code) = refusal(daemon(home.path()).args(["--listen", &address]));
    let expected = format!(
        "error: cannot listen on {address}: Address already in use (os error 98)\n\
         try: stop the process that listens there, or choose another port with --listen\n"
    );
    assert_eq!((told, code), (expected, Some(1)));
}

#[test]
fn address_without_a_port_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let (told, code) = refusal(daemon(home.path()).args(["--listen", "localhost"]));
    assert!(told.starts_with("error: "), "{told}");
    assert_eq!(code, Some(1));
}

#[test]
fn unreadable_key_file_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().to_str().unwrap();
    let (told, code) =
        refusal(daemon(home.path()).args(["--listen", "127.0.0.1:0", "--key-file", folder]));
    let expected = format!(
        "error: cannot read the key file {folder}: Is a directory (os error 21)\n\
         try: name another file with --key-file\n"
    );
    assert_eq!((told, code), (expected, Some(1)));
}

#[test]
fn key_file_without_a_key_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("key");
    let path_text = path.to_str().unwrap();
    let mut command = daemon(home.path());
    command.args(["--listen", "127.0.0.1:0", "--key-file", path_text]);

    fs::write(&path, "# none\n").unwrap();
    let expected = format!(
        "error: the key file {path_text} holds no key\n\
         try: remove the file, and the broker makes one\n"
    );
    assert_eq!(refusal(&mut command), (expected, Some(1)));

    fs::write(&path, "# mine\nsecret\n").unwrap();
    let expected =
        format!("error: {path_text}, line 2: not a key; expected gk1_ and 64 hex digits\n");
    assert_eq!(refusal(&mut command), (expected, Some(1)));
}

#[test]
fn address_that_others_can_reach_needs_a_key_that_others_cannot_read() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("key");
    let path_text = path.to_str().unwrap();
    let mut command = daemon(home.path());
    command.args(["--listen", "0.0.0.0:0", "--key-file", path_text]);
    let expected = format!(
        "error: refusing to listen on 0.0.0.0:0 without a key: other machines can reach it, and \
         there is no key file {path_text}\n\
         try: start the broker once on 127.0.0.1, which makes one, or name another file with \
         --key-file\n"
    );
    assert_eq!(refusal(&mut command), (expected, Some(1)));

    fs::write(&path, Key::generate().unwrap().to_text()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let expected = format!(
        "error: refusing the key file {path_text}: others can read it (mode 640)\n\
         try: chmod 600 {path_text}\n"
    );
    assert_eq!(refusal(&mut command), (expected, Some(1)));

    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let daemon = Daemon::start(&mut command);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.end(), (Some(0), String::new()));
}

#[test]
fn key_file_that_others_can_read_is_warned_of_on_loopback() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("key");
    fs::write(&path, Key::generate().unwrap().to_text()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let path = path.to_str().unwrap();
    let daemon =
        Daemon::start(daemon(home.path()).args(["--listen", "127.0.0.1:0", "--key-file", path]));
    daemon.signal(Signal::TERM);
    let (code, log) = daemon.end();
    assert_eq!(code, Some(0));
    let told = format!("others can read the key file; try chmod 600 path={path} mode=644");
    assert!(log.contains(&told), "{log}");
}

#[test]
fn journal_is_in_the_folder_of_the_user_unless_all_is_in_memory() {
    let home = tempfile::tempdir().unwrap();
    let ran = |args: &[&str]| {
        let mut command = daemon(home.path());
        let daemon = Daemon::start(command.args(["--listen", "127.0.0.1:0"]).args(args));
        daemon.signal(Signal::TERM);
        assert_eq!(daemon.end().0, Some(0));
        home.path().join(".local/share/ganger/FORMAT").exists()
    };
    assert!(!ran(&["--durability", "memory"]));
    assert!(ran(&[]));
}

#[test]
fn journal_without_a_place_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let key = home.path().join("key");
    let mut command = daemon(home.path());
    let refused = refusal(command.env_remove("HOME").arg("--key-file").arg(&key));
    let expected = "error: no folder is named for the journal, and there is no $HOME to keep one in\n\
                    try: --data DIR, which keeps a journal there, or --durability memory, which \
                    keeps jobs until the broker ends\n";
    assert_eq!(refused, (expected.to_owned(), Some(1)));
}

#[test]
fn acknowledged_job_outlives_a_killed_daemon() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let start = || keeper(home.path(), &data);
    let first = Daemon::start(&mut start());
    run(async {
        let mut client = Client::tcp(&first.address(), &first.key()).await;
        client.submit("mail", &[b"1", b"2"]).await.unwrap();
    });
    let (told, code) = refusal(&mut start());
    let expected = format!(
        "error: cannot read the journal back: {} is in use by process {}\n\
         try: stop the other broker, or name another folder with --data\n",
        data.display(),
        first.child.id()
    );
    assert_eq!((told, code), (expected, Some(75)));
    first.signal(Signal::KILL);
    first.end();

    let second = Daemon::start(&mut start());
    run(async {
        let mut client = Client::tcp(&second.address(), &second.key()).await;
        client.subscribe("mail", 10).await;
        assert_eq!(client.assigned().await.payloads, [&b"1"[..], &b"2"[..]]);
    });
    second.signal(Signal::TERM);
    assert_eq!(second.end().0, Some(0));
}

/// A daemon that keeps a journal in `data`, whatever keeps the test's folders.
fn keeper(home: &Path, data: &Path) -> Command {
    let mut command = daemon(home);
    command.args(["--listen", "127.0.0.1:0", "--durability", "strict", "--data"]).arg(data);
    command.env("GANGER_ANY_FILESYSTEM", "true");
    command
}

#[test]
fn start_says_what_was_read_back_and_how_fast_the_disk_is() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    for (records, jobs) in [("records=0 ", " jobs=0 "), ("records=", " jobs=1 ")] {
        let daemon = Daemon::start(keeper(home.path(), &data).env("GANGER_LOG", "info"));
        run(async {
            let mut client = Client::tcp(&daemon.address(), &daemon.key()).await;
            client.submit("mail", &[b"1"]).await.unwrap();
        });
        daemon.signal(Signal::TERM);
        let (code, log) = daemon.end();
        let line = log.lines().find(|line| line.contains("journal read back")).expect(&log);
        assert!(line.contains(records) && line.contains(jobs), "{line}");
        assert!(!line.contains("flush_us=?"), "{line}");
        assert_eq!(code, Some(0));
        assert!(!data.join("probe").exists());
    }
}

#[test]
fn file_system_in_memory_is_refused_unless_it_is_accepted() {
    let memory = Path::new("/dev/shm");
    if !memory.is_dir() {
        return;
    }
    let folder = tempfile::tempdir_in(memory).unwrap();
    let data = folder.path().join("data");
    let refused = refusal(keeper(folder.path(), &data).env_remove("GANGER_ANY_FILESYSTEM"));
    let expected = format!(
        "error: cannot read the journal back: {} is on tmpfs, which is memory: all of it is gone with \
         the power\n\
         try: name a folder on a disk of this machine with --data, or say any_filesystem = true under \
         [journal] in the configuration to take the risk\n",
        data.display()
    );
    assert_eq!(refused, (expected, Some(78)));
    assert!(!data.exists());

    let daemon = Daemon::start(&mut keeper(folder.path(), &data));
    daemon.signal(Signal::TERM);
    let (code, log) = daemon.end();
    assert_eq!(code, Some(0));
    assert!(log.contains("accepted as configured, which is memory"), "{log}");
    assert!(log.contains("this disk may report flushes it has not done"), "{log}");
}

/// A journal with one job, of a daemon that has ended.
fn journal_with_a_job(home: &Path, data: &Path) {
    let daemon = Daemon::start(&mut keeper(home, data));
    run(async {
        let mut client = Client::tcp(&daemon.address(), &daemon.key()).await;
        client.submit("mail", &[b"1"]).await.unwrap();
    });
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.end().0, Some(0));
}

#[test]
fn damaged_journal_is_refused_with_65_and_a_line_for_programs() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    journal_with_a_job(home.path(), &data);
    let segment = data.join("seg-0000000001");
    let file = fs::File::options().write(true).open(&segment).unwrap();
    // In the first frame of records, behind its header.
    file.write_all_at(b"X", 4096 + 200).unwrap();
    let (told, code) = refusal(&mut keeper(home.path(), &data));
    assert_eq!(code, Some(65), "{told}");
    let segment = segment.display();
    assert!(told.contains(&format!("is damaged at {segment}, bytes 4096 to ")), "{told}");
    assert!(told.contains("\ntry: keep a copy of the folder"), "{told}");
    let last = told.lines().last().unwrap();
    let wanted = format!("damage: file={segment} bytes=4096-8191 records=1-");
    assert!(last.starts_with(&wanted), "{told}");

    fs::remove_file(data.join("FORMAT")).unwrap();
    let (told, code) = refusal(&mut keeper(home.path(), &data));
    assert_eq!(code, Some(65), "{told}");
    let wanted = format!("\ndamage: file={}\n", data.join("FORMAT").display());
    assert!(told.ends_with(&wanted), "{told}");
}

#[test]
fn folder_that_cannot_be_made_is_refused_with_73() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    fs::write(&file, "").unwrap();
    let (told, code) = refusal(&mut keeper(home.path(), &file.join("data")));
    assert_eq!(code, Some(73), "{told}");
    assert!(told.contains(&file.join("data").display().to_string()), "{told}");
}

#[test]
fn journal_that_cannot_be_read_is_refused_with_74() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    fs::create_dir_all(data.join("FORMAT")).unwrap();
    let (told, code) = refusal(&mut keeper(home.path(), &data));
    assert_eq!(code, Some(74), "{told}");
    let wanted = format!("cannot read {}: ", data.join("FORMAT").display());
    assert!(told.contains(&wanted), "{told}");
}

#[test]
fn journal_that_cannot_be_written_any_more_ends_the_daemon_with_74() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let daemon = Daemon::start(&mut keeper(home.path(), &data));
    run(async {
        let mut client = Client::tcp(&daemon.address(), &daemon.key()).await;
        client.submit("mail", &[b"1"]).await.unwrap();
        // Whatever is to be made or looked at in there fails from here on.
        fs::remove_dir_all(&data).unwrap();
        let payload = vec![0; 8 << 20];
        for _ in 0..20 {
            let (_, submit) = client.submission("mail", &[&payload]);
            client.say(&submit).await;
        }
        // Accepted for what fitted, then nothing.
        while client.raw.hear::<Response>().await.is_some() {}
    });
    let (code, log) = daemon.end();
    assert_eq!(code, Some(74), "{log}");
    assert!(log.contains("error: the journal cannot be written: "), "{log}");
}

#[test]
fn journal_of_a_later_version_is_refused_with_78() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    journal_with_a_job(home.path(), &data);
    let path = data.join("FORMAT");
    let mut format = fs::read(&path).unwrap();
    for copy in format.chunks_mut(4096) {
        copy[8] = 9;
        let hash = blake3::hash(&copy[..4064]);
        copy[4064..].copy_from_slice(hash.as_bytes());
    }
    fs::write(&path, format).unwrap();
    let (told, code) = refusal(&mut keeper(home.path(), &data));
    assert_eq!(code, Some(78), "{told}");
    assert!(told.contains("its format is 9.0, known is 1"), "{told}");
}

#[test]
fn configuration_is_printed_with_where_each_setting_comes_from() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("broker.toml");
    let text = "listen = \"127.0.0.1:1\"\ncreate = \"operator-only\"\n\
                [limits]\nframe_max = \"32 MiB\"\nconections_max = 5\n\
                [queue.\"img/thumbs\"]\nlease = \"2 min\"\n";
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let printed = daemon(home.path())
        .args(["--config", file, "--listen", "127.0.0.1:2", "--print-config"])
        .envs([("GANGER_DATA", "/var/lib/ganger"), ("GANGER_LISTEN", "127.0.0.1:3")])
        .output()
        .unwrap();
    assert!(printed.status.success());
    let stdout = String::from_utf8(printed.stdout).unwrap();
    let expected = include_str!("printed.toml")
        .replace("HOME", home.path().to_str().unwrap())
        .lines()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    // Columns move with the length of the folder's name.
    let squeeze = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let printed_lines: Vec<_> = stdout.lines().map(squeeze).collect();
    let expected: Vec<_> = expected.iter().map(|line| squeeze(line)).collect();
    assert_eq!(printed_lines, expected, "the whole of it:\n{stdout}");
    let warned = String::from_utf8(printed.stderr).unwrap();
    let told = format!("{file}: there is no setting limits.conections_max; it is ignored");
    assert!(warned.contains(&told), "{warned}");
    // What is printed is a configuration that says the same.
    let again = home.path().join("again.toml");
    fs::write(&again, &stdout).unwrap();
    let reprinted =
        daemon(home.path()).args(["--config"]).arg(again).arg("--print-config").output().unwrap();
    let values = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split(" #").next().unwrap().trim().to_owned()).collect()
    };
    assert_eq!(values(&String::from_utf8(reprinted.stdout).unwrap()), values(&stdout));
}

#[test]
fn configuration_that_cannot_be_understood_is_refused_with_the_line() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("broker.toml");
    let path = file.to_str().unwrap();
    for (text, told) in [
        (
            "[limits]\nframe_max = \"64 apples\"\n",
            "line 2: frame_max = \"64 apples\": \"64 apples\" is no number of bytes; write it as in 16MiB",
        ),
        (
            "\n\n[sessions]\ngrace = 5\n",
            "line 4: grace = 5: invalid type: integer `5`, expected a string",
        ),
        (
            "create = \"sometimes\"\n",
            "line 1: create = \"sometimes\": unknown variant `sometimes`, expected `on-first-use` or `operator-only`",
        ),
    ] {
        fs::write(&file, text).unwrap();
        let refused = refusal(daemon(home.path()).args(["--config", path]));
        assert_eq!(refused, (format!("error: {path}, {told}\n"), Some(2)));
    }
    let missing = refusal(daemon(home.path()).args(["--config", "/nowhere.toml"]));
    let told = "error: cannot read the configuration /nowhere.toml: \
                No such file or directory (os error 2)\n";
    assert_eq!(missing, (told.to_owned(), Some(2)));
    let variable = refusal(daemon(home.path()).env("GANGER_DURABILITY", "eternal"));
    let told = "error: the environment variable GANGER_DURABILITY=eternal: it must be one of \
                memory, relaxed, strict\n";
    assert_eq!(variable, (told.to_owned(), Some(2)));
}

/// Two are enough for what the test does beside its thousands of sockets.
fn raise_file_limit(wished: u64) {
    let limit = getrlimit(Resource::Nofile);
    let raised = limit.maximum.map_or(wished, |most| most.min(wished));
    setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum }).unwrap();
}

#[test]
fn five_thousand_idle_clients_cost_little_and_hold_up_nobody() {
    const IDLE: usize = 5_000;
    raise_file_limit(IDLE as u64 + 1_000);
    let home = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(daemon(home.path()).args(["--listen", "127.0.0.1:0"]));
    let empty = daemon.memory();
    assert!(empty < 16 << 20, "an idle broker has {empty} bytes");
    let (address, key) = (daemon.address(), daemon.key());
    run(async {
        let mut idle = Vec::new();
        for _ in 0..IDLE {
            idle.push(Client::tcp(&address, &key).await);
        }
        let each = (daemon.memory() - empty) / IDLE;
        assert!(each < 8 << 10, "an idle client costs {each} bytes");
        for _ in 0..10 {
            Client::tcp(&address, &key).await.is_served().await;
        }
        // The first and the last of them are served too.
        idle[0].is_served().await;
        idle[IDLE - 1].is_served().await;
        daemon.signal(Signal::TERM);
        for client in &mut idle {
            assert!(matches!(
                client.raw.hear::<Response>().await,
                Some(Response::Goodbye { come_back: true, .. })
            ));
        }
    });
    assert_eq!(daemon.end(), (Some(0), String::new()));
}

#[test]
fn connections_are_bounded_by_the_limit_of_open_files() {
    let home = tempfile::tempdir().unwrap();
    let broker = env!("CARGO_BIN_EXE_ganger-broker");
    let mut command = Command::new("sh");
    command.env_clear().env("HOME", home.path()).env("GANGER_LOG", "off");
    command.args(["-c", &format!("ulimit -n 80; exec {broker} --listen 127.0.0.1:0")]);
    let daemon = Daemon::start(&mut command);
    run(async {
        let mut clients = Vec::new();
        for _ in 0..16 {
            clients.push(Client::tcp(&daemon.address(), &daemon.key()).await);
        }
        let told = "the broker has its most of 16 connections";
        assert_eq!(Raw::tcp(&daemon.address()).await.refusal().await, told);
        for client in &mut clients {
            client.is_served().await;
        }
    });
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.end().0, Some(0));
}

#[test]
fn broker_out_of_files_rests_and_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let broker = env!("CARGO_BIN_EXE_ganger-broker");
    let mut command = Command::new("bash");
    command.env_clear().env("HOME", home.path()).env("GANGER_LOG", "error");
    // Of 96 files 70 are taken by what the process is started with; it counts on 32.
    let taken = "for file in $(seq 10 79); do eval \"exec $file</dev/null\"; done";
    let script = format!("ulimit -n 96; {taken}; exec {broker} --listen 127.0.0.1:0");
    let daemon = Daemon::start(command.args(["-c", &script]).env("PATH", "/usr/bin:/bin"));
    run(async {
        let mut first = Client::tcp(&daemon.address(), &daemon.key()).await;
        let inside = Arc::new(AtomicUsize::new(0));
        let (leave, stay) = async_channel::bounded::<()>(1);
        let connect = || {
            let (address, key) = (daemon.address(), daemon.key());
            let (inside, stay) = (Arc::clone(&inside), stay.clone());
            ganger_rt::spawn(async move {
                let client = Client::tcp(&address, &key).await;
                inside.fetch_add(1, Ordering::Relaxed);
                stay.recv().await.unwrap_err();
                drop(client);
            })
        };
        let others: Vec<_> = (0..20).map(|_| connect()).collect();
        // Those inside are served while others cannot get in.
        while inside.load(Ordering::Relaxed) == 0 {
            first.is_served().await;
        }
        for _ in 0..20 {
            first.is_served().await;
        }
        let inside = inside.load(Ordering::Relaxed);
        assert!((1..20).contains(&inside), "{inside} got in");
        // Each that leaves makes room for another one.
        drop(leave);
        for other in others {
            other.await;
        }
        first.is_served().await;
    });
    daemon.signal(Signal::TERM);
    let (code, log) = daemon.end();
    assert_eq!(code, Some(0));
    let lines: Vec<_> = log.lines().collect();
    assert!(lines.iter().all(|line| line.contains("cannot accept connections")), "{log}");
    assert!((1..=20).contains(&lines.len()), "{log}");
}
