//! Shared objects called from the shell.

use serde_json::{Value, json};

use crate::support::{Broker, ganger, run};

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn verbs_pick_the_method_of_the_type() {
    let broker = Broker::start();
    let out = |words: &str| broker.run(&format!("object {words}")).ok();

    assert_eq!(out("incr visits --type counter"), "1\n");
    assert_eq!(out("incr visits --by -3"), "-2\n");
    assert_eq!(out("set visits 40"), "-2\n");
    assert_eq!(out("get visits"), "40\n");

    let set = broker.run_words("object set board ann --type dict", &["{\"score\": 7}"]);
    assert_eq!(set.ok(), "1\n");
    out("set board 7 [1,2]");
    assert_eq!(out("get board ann"), "{\"score\":7}\n");
    assert_eq!(out("get board 7"), "[1,2]\n");
    assert_eq!(out("get board"), "{\"$map\":[[\"ann\",{\"score\":7}],[7,[1,2]]]}\n");
    assert_eq!(out("incr board hits --by 5"), "5\n");
    assert_eq!(out("pop board hits"), "5\n");
    assert_eq!(out("pop board"), "{\"$tuple\":[7,[1,2]]}\n");

    assert_eq!(out("push hosts alpha -5 beta --type list"), "3\n");
    assert_eq!(out("get hosts"), "[\"alpha\",-5,\"beta\"]\n");
    assert_eq!(out("get hosts -1"), "beta\n");
    assert_eq!(out("set hosts 0 gamma"), "");
    assert_eq!(out("pop hosts 0"), "gamma\n");
    assert_eq!(out("pop hosts"), "beta\n");

    assert_eq!(out("push tags b a b --type set"), "2\n");
    assert_eq!(out("get tags"), "{\"$set\":[\"b\",\"a\"]}\n");
    assert_eq!(out("pop tags"), "b\n");

    out("set settings 7 seven --type namespace");
    assert_eq!(out("get settings"), "{\"7\":\"seven\"}\n");
    assert_eq!(out("get settings 7"), "seven\n");

    out("create samples --type array f64 3");
    out("set samples 1 2.5");
    assert_eq!(out("get samples"), "[0.0,2.5,0.0]\n");

    assert_eq!(out("set greeting hello --type value"), "1\n");
    assert_eq!(out("get greeting"), "hello\n");
    assert_eq!(out("get greeting -o json"), "{\"v\":1,\"value\":\"hello\"}\n");
    assert_eq!(out("call board keys -o ndjson"), "{\"v\":1,\"value\":[\"ann\"]}\n");
}

#[test]
fn values_come_from_text_file_or_standard_input() {
    let broker = Broker::start();
    let file = broker.folder.path().join("value");
    std::fs::write(&file, "{\"$tuple\": [1, 2.0]}\n").unwrap();
    broker.run(&format!("object set v @{} --type value", file.display())).ok();
    assert_eq!(broker.run("object get v").ok(), "{\"$tuple\":[1,2.0]}\n");
    broker.run_with("object set v -", "a\nb").ok();
    assert_eq!(broker.run("object get v -o json").ok(), "{\"v\":1,\"value\":\"a\\nb\"}\n");
    broker.run("object set v 99999999999999999999").ok();
    assert_eq!(broker.run("object get v").ok(), "{\"$int\":\"99999999999999999999\"}\n");
    let error = broker.run("object set v @/nonexistent").failed(2);
    assert!(error.contains("/nonexistent"), "{error}");
    let error = broker.run("object set v {\"$set\":[1,1]}").failed(2);
    assert!(error.contains("set has 1 more than once"), "{error}");
}

#[test]
fn objects_are_listed_with_lists_among_them() {
    let broker = Broker::start();
    broker.run("object create board --type dict --durability memory -q").ok();
    broker.run("object push hosts a b --type list/1").ok();
    let listed = broker.run("object ls").ok();
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(
        lines[0].split('\t').collect::<Vec<_>>(),
        ["board", "dict/1", "0", "0", "0", "0", "memory"]
    );
    assert!(lines[1].starts_with("hosts\tlist/1\t2\t"), "{listed}");
    let listed = parsed(&broker.run("object ls --type dict -o json").ok());
    assert_eq!(listed["v"], 1);
    assert_eq!(listed["objects"].as_array().unwrap().len(), 1);
    assert_eq!(listed["objects"][0]["durability"], "memory");
    let table = broker.run("object ls -o table").ok();
    assert!(
        table.contains("DURABILITY") && table.lines().nth(2).unwrap().ends_with("strict"),
        "{table}"
    );
}

#[test]
fn object_is_made_once_and_removed_with_yes() {
    let broker = Broker::start();
    assert_eq!(
        broker.run("object create n --type counter 5 -o json").ok(),
        "{\"v\":1,\"count\":1}\n"
    );
    assert_eq!(
        broker.run("object create n --type counter -o json").ok(),
        "{\"v\":1,\"count\":0}\n"
    );
    assert_eq!(broker.run("object get n").ok(), "5\n");
    let error = broker.run("object create n --type dict").failed(6);
    assert!(error.contains("n is a counter/1, not a dict/1"), "{error}");
    let error = broker.run("object create b --type barrier").failed(2);
    assert!(error.contains("barrier/1") && error.contains("missing"), "{error}");

    let error = broker.run("object rm n").failed(2);
    assert!(error.contains("removes 1 objects") && error.contains("--yes"), "{error}");
    broker.run("object rm n nobody --yes").failed(3);
    assert_eq!(broker.run("object rm n --yes -o json").ok(), "{\"v\":1,\"count\":1}\n");
    broker.run("object get n").failed(3);
    broker.run("object create l --type list").ok();
    assert_eq!(broker.run("object rm l --yes -o json").ok(), "{\"v\":1,\"count\":1}\n");
    broker.run("submit --queue q --payload 1 --results outs").ok();
    let error = broker.run("object rm outs --yes").failed(6);
    assert!(error.contains("takes the results of queue q; purge it instead"), "{error}");
    let error = broker.run("object rm q --yes").failed(6);
    assert!(error.contains("queue q holds 1 jobs"), "{error}");
    broker.run("queue purge q --yes").ok();
    broker.run("object rm q outs --yes").ok();
    broker.run("object get outs").failed(3);
}

#[test]
fn object_without_a_name_is_called_by_the_one_that_is_printed() {
    let broker = Broker::start();
    let printed = broker.run("object create - --type dict").ok();
    let name = printed.trim();
    let id = name.strip_prefix("_/").unwrap();
    broker.run(&format!("object set {name} a 1")).ok();
    broker.run(&format!("object set board inner {{\"$ref\":\"{id}\"}} --type dict")).ok();
    assert_eq!(broker.run("object get board inner").ok(), format!("{{\"$ref\":\"{id}\"}}\n"));
    assert_eq!(broker.run(&format!("object get {name} a")).ok(), "1\n");
    let error = broker.run("object create _/77 --type dict").failed(2);
    assert!(error.contains("only the broker gives names like _/77"), "{error}");
}

#[test]
fn failure_says_what_to_try_and_has_its_exit_code() {
    let broker = Broker::start();
    let failed = |words: &str, code| broker.run(&format!("object {words}")).failed(code);
    broker.run("object push hosts a --type list").ok();
    broker.run("object set board k v --type dict").ok();
    broker.run("object create visits --type counter").ok();

    let error = failed("get bord", 3);
    assert!(error.contains("no object bord") && error.contains("did you mean board?"), "{error}");
    let error = failed("set nothing 1", 3);
    assert!(error.contains("ganger object create nothing --type"), "{error}");
    let error = failed("push visits 1", 6);
    assert!(
        error.contains("visits is of type counter/1, which nothing can be pushed to"),
        "{error}"
    );
    assert!(failed("incr board --type counter", 6).contains("board is a dict/1, not a counter/1"));
    let error = failed("call visits jump", 2);
    assert!(error.contains("counter/1 has no method \"jump\"") && error.contains("add"), "{error}");
    failed("call x get --type nonsense/1", 2);
    assert!(failed("get hosts 1", 3).contains("index 1 is out of range: there are 1 items"));
    assert!(failed("get board gone", 3).contains("there is no key \"gone\""));
    failed("pop hosts seven", 2);

    assert_eq!(broker.run("object set board k w --if-revision 1").ok(), "2\n");
    assert!(failed("set board k x --if-revision 1", 6).contains("at revision 2, not at 1"));
    assert!(failed("set visits 1 --if-revision 1", 6).contains("has no revisions"));
    broker.run("object set board session x --ttl 1h").ok();
    assert!(
        broker.run("object call board entry session").ok().starts_with("{\"$tuple\":[\"x\",3,")
    );
    failed("set hosts 0 x --ttl 1h", 6);
    failed("set board a b --ttl 1h c", 2);
    assert!(failed("set board x", 6).contains("needs a key or an index before the value"));

    broker.run("object create door --type lock").ok();
    let error = failed("call door release", 6);
    assert!(error.contains("nobody holds it") && error.contains("object holders"), "{error}");
    assert!(failed("get door", 6).contains("door is of type lock/1, which holds no values"));
    broker.run("submit --queue mail x").ok();
    assert!(
        failed("set mail 1", 6).contains("mail is of type queue/1, which has no values to set")
    );
}

#[test]
fn call_that_waited_in_vain_says_so_with_its_exit_code() {
    let broker = Broker::start();
    let done = broker.run("object call ready wait --wait 1ms --type event");
    assert_eq!((done.code, done.out.as_str()), (124, "false\n"));
    assert_eq!(broker.run("object call ready set").ok(), "null\n");
    assert_eq!(broker.run("object call ready wait").ok(), "true\n");
    let done = broker.run("object call door acquire --type lock");
    assert!(done.err.contains("ganger lock door -- CMD"), "{done:?}");
    done.ok();
}

#[test]
fn where_only_operators_make_names_that_is_said() {
    let broker = Broker::start_with("create = \"operator-only\"\ndurability = \"memory\"");
    let error = broker.run("object incr n --type counter").failed(3);
    assert!(error.contains("ganger object create n --type"), "{error}");
    broker.run("object create n --type counter 4").ok();
    assert_eq!(broker.run("object incr n").ok(), "5\n");
    broker.run("object create l --type list --durability memory").ok();
    assert_eq!(broker.run("object push l 1").ok(), "1\n");
    broker.run("object create line --type queue 7").ok();
    assert_eq!(broker.run("object call line maxsize").ok(), "7\n");
}

#[test]
fn types_are_told_without_a_broker() {
    let types = run(ganger(["object", "types"])).ok();
    assert!(
        types.contains("counter/1\tstart = 0\ta whole number of 64 bits with a sign\n"),
        "{types}"
    );
    let methods = run(ganger(["object", "types", "counter", "-o", "json"])).ok();
    let methods = parsed(&methods);
    assert_eq!((&methods["v"], &methods["typeid"]), (&1.into(), &"counter/1".into()));
    assert_eq!(
        methods["methods"][1],
        json!({ "name": "add", "args": "by = 1", "returns": "int: the sum", "cost": "O(1)" })
    );
    assert!(run(ganger(["object", "types", "dict"])).ok().contains("pop_item\t\ttuple"));
    let error = run(ganger(["object", "types", "tree/1"])).failed(3);
    assert!(error.contains("there is no type tree/1"), "{error}");
}

#[test]
fn export_and_import_are_each_other_s_inverse() {
    let old = Broker::start();
    for (words, value) in [
        ("set dict/1 7 --type dict", "{\"$bytes\": \"AP8=\"}"),
        ("set dict/1 null", "{\"$float\": \"nan\"}"),
        ("set dict/1 late --ttl 1h", "1"),
        ("push list/1 a --type list", "{\"a\": {\"$set\": [1]}}"),
        ("push set/1 null b --type set", "a"),
        ("set namespace/1 name --type namespace", "-0.0"),
        ("set value/1 --type value", "{\"$tuple\": [{\"$map\": [[\"$a\", 1]]}]}"),
        ("create counter/1 --type counter --durability memory", "-7"),
        ("create array/1 --type array i16", "[1, -2, 3]"),
        ("create semaphore/1 --type semaphore", "3"),
        ("create bounded/1 --type bounded_semaphore", "4"),
        ("create barrier/1 --type barrier", "5"),
    ] {
        old.run_words(&format!("object {words}"), &[value]).ok();
    }
    for typeid in ["lock", "rlock", "condition"] {
        old.run(&format!("object create {typeid}/1 --type {typeid}")).ok();
    }
    old.run("object call event/1 set --type event").ok();

    let exported = old.run("object export").ok();
    let lines: Vec<Value> = exported.lines().map(parsed).collect();
    assert_eq!(lines.len(), 14, "{exported}");
    assert!(lines.iter().all(|line| line["v"] == 1));
    let new = Broker::start();
    assert_eq!(new.run_with("object import - -o json", &exported).ok(), "{\"v\":1,\"count\":14}\n");
    // What is left of a time to live is less by then.
    let timeless = |text: &str| -> Vec<Value> {
        let line = |line| {
            let mut line = parsed(line);
            if let Some(ttl) = line.get_mut("ttl_ms") {
                let left = ttl["late"].take().as_u64().unwrap();
                assert!((3_000_000..=3_600_000).contains(&left), "{left} ms");
            }
            line
        };
        text.lines().map(line).collect()
    };
    assert_eq!(timeless(&new.run("object export").ok()), timeless(&exported));
    assert_eq!(
        new.run("object export counter/1").ok(),
        "{\"v\":1,\"name\":\"counter/1\",\"typeid\":\"counter/1\",\"durability\":\"memory\",\"content\":-7}\n"
    );

    let error = new.run_with("object import -", &exported).failed(6);
    assert!(error.contains("array/1 exists already") && error.contains("--replace"), "{error}");
    new.run("object push set/1 other").ok();
    new.run("object push list/1 other").ok();
    let file = new.folder.path().join("objects.ndjson");
    std::fs::write(&file, &exported).unwrap();
    new.run(&format!("object import --replace {}", file.display())).ok();
    assert_eq!(timeless(&new.run("object export").ok()), timeless(&exported));
    let error = new.run_with("object import -", "\n{\"v\":1}\n").failed(2);
    assert!(error.contains("line 2 is no object"), "{error}");
}

#[test]
fn large_objects_are_carried_over_in_parts() {
    let broker = Broker::start();
    let items: Vec<u32> = (0..20_000).collect();
    // A key of none, which asks for the first part, ends a part.
    let mut members = json!(items);
    members.as_array_mut().unwrap().insert(4_095, Value::Null);
    let line = |name: &str, content: Value| json!({ "v": 1, "name": name, "typeid": format!("{name}/1"), "content": content });
    let map: Value = items.iter().map(|item| (item.to_string(), json!("x".repeat(100)))).collect();
    let lines = [
        line("dict", map.clone()),
        line("list", json!(items)),
        line("namespace", map),
        line("set", json!({ "$set": members })),
    ];
    let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
    broker.run_with("object import -", &input).ok();
    for (line, found) in lines.iter().zip(broker.run("object export").ok().lines()) {
        let found = parsed(found);
        assert_eq!(found["name"], line["name"]);
        assert!(found["content"] == line["content"], "{} differs", line["name"]);
    }
    assert!(parsed(&broker.run("object get list").ok()) == lines[1]["content"]);
}

#[test]
fn queue_of_jobs_is_called_as_one_of_items() {
    let broker = Broker::start();
    let run = |words: &str| broker.run(&format!("object {words}"));
    assert_eq!(run("create line --type queue 2 -o json").ok(), "{\"v\":1,\"count\":1}\n");
    assert_eq!(run("call line put 5").ok(), "null\n");
    assert_eq!(run("call line put {\"a\":1} --wait 5s").ok(), "null\n");
    assert!(run("call line put x").failed(7).starts_with("error: it is full: 2 of 2 items\n"));
    assert_eq!(
        run("get line").ok(),
        "{\"len\":2,\"maxsize\":2,\"unfinished\":2,\"is_shut_down\":false}\n"
    );
    assert_eq!(run("call line get").ok(), "5\n");
    assert_eq!(run("call line join").failed(124), "");
    broker.run("submit --queue line hello").ok();
    assert_eq!(run("call line get --wait 5s").ok(), "{\"a\":1}\n");
    assert!(run("call line get").ok().contains("aGVsbG8="));
    assert_eq!(run("call line get --wait 1ms").failed(3), "error: it is empty\n");
    let error = run("push line 1").failed(6);
    assert!(error.starts_with("error: object line is of type queue/1, which"), "{error}");
    assert!(run("export line").failed(2).contains("to read a queue's items is to take them"));
    run("rm line --yes").ok();
    run("get line").failed(3);
    // What returns none is not taken for a wait that was in vain.
    run("set empty null --type value").ok();
    assert_eq!(run("call empty get").ok(), "null\n");
}
