//! Calls of shared objects as a process: every answer, and what is left in the objects, is checked by the
//! benchmark itself; here, that it has measured everything.

use serde_json::Value;

use crate::{bench, is_installed, text};

const SHAPES: [&str; 5] =
    ["calls", "calls-pipelined", "calls-together", "calls-of-many", "calls-of-many-pipelined"];

const CALLS: [&str; 6] =
    ["list-append", "dict-set", "counter-add", "list-pop", "dict-get", "counter-get"];

/// Runs what is asked for once, with few calls, and returns the series.
fn series(more: &[&str]) -> Vec<Value> {
    let small = ["objects", "--runs", "1", "--jobs", "300", "--output", "json"];
    let output = bench(&[&small[..], more].concat());
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["series"].as_array().unwrap().clone()
}

/// Of each series its shape, call and peer, once it is sure that it was measured and nothing was lost.
fn measured(series: &[Value]) -> Vec<[&str; 3]> {
    let names = series.iter().map(|series| {
        assert_eq!(series["failures"].as_array().unwrap().len(), 0, "{series:#}");
        assert_eq!(series["runs"].as_array().unwrap().len(), 1, "{series:#}");
        let results = &series["results"];
        let is_empty = series["load"]["call"] == "list-pop";
        assert_eq!(results["expected"].as_u64().unwrap() == 0, is_empty, "{series:#}");
        for wrong in ["lost", "duplicates", "unexpected"] {
            assert_eq!(results[wrong], 0, "{series:#}");
        }
        let load = &series["load"];
        [&load["shape"], &load["call"], &series["peer"]].map(|name| name.as_str().unwrap())
    });
    names.collect()
}

#[test]
fn every_call_is_made_by_every_peer_in_every_shape() {
    let series = series(&[]);
    let peers = ["ganger", "redis", "python-manager"].into_iter().filter(|peer| is_installed(peer));
    let mut expected = Vec::new();
    let peers: Vec<_> = peers.collect();
    for shape in SHAPES {
        for call in CALLS {
            // Who pops what is nobody's to say where many do.
            if call != "list-pop" || !shape.contains("many") {
                // Python's proxies make no calls together.
                let able = |peer: &&&str| **peer != "python-manager" || shape != "calls-together";
                expected.extend(peers.iter().filter(able).map(|&peer| [shape, call, peer]));
            }
        }
    }
    assert_eq!(measured(&series), expected);
}

#[test]
fn calls_that_a_disk_has_are_all_there_too() {
    let strict = ["--durability", "relaxed,strict", "--shape", "calls,calls-pipelined"];
    let series = series(&[&strict[..], &["--call", "list-append,dict-set,counter-add"]].concat());
    // Python's manager keeps nothing, and says so.
    let kept: Vec<_> =
        series.into_iter().filter(|series| series["unavailable"].is_null()).collect();
    assert!(measured(&kept).len() >= 12);
}

#[test]
fn length_of_a_value_matters_where_there_is_one() {
    let lengths = ["--payload", "16,64KiB", "--shape", "calls", "--call", "dict-set,counter-add"];
    let series = series(&lengths);
    let of_ganger = series.iter().filter(|series| series["peer"] == "ganger");
    let loads = of_ganger.map(|series| {
        (series["load"]["call"].as_str().unwrap(), series["load"]["payload"].as_u64().unwrap())
    });
    let expected = [("dict-set", 16), ("counter-add", 16), ("dict-set", 65_536)];
    assert_eq!(loads.collect::<Vec<_>>(), expected);
}

#[test]
fn help_has_an_example() {
    let help = text(&bench(&["objects", "--help"]).stdout);
    assert!(help.contains("ganger-bench objects --shape calls --call"), "{help}");
}
