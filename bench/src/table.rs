//! A report as tables: aligned for a terminal, or as a page of Markdown.
//! Not what is measured: `report` has that.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};

use crate::page::Page;
use crate::procfs::Machine;
use crate::report::{Load, Report, Series, Spread, short, size};
use crate::shapes::{Shape, Unit};

/// How tables are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    Terminal,
    Markdown,
}

/// All tables of a report, one per load, and what there is to know about the peers.
pub(crate) fn render(report: &Report, look: Look) -> String {
    let mut text = String::new();
    for load in report.loads() {
        write_load(&mut text, report, load, look);
    }
    heading(&mut text, look, "peers");
    write_peers(&mut text, report);
    let _ = writeln!(text, "\n{}", machine(&report.machine));
    text
}

/// The report as a page of documentation.
pub(crate) fn page(report: &Report, page: &Page) -> String {
    let Page { command, plot, notes_name, notes } = page;
    let first = report.contestants.first().map_or("the first peer", |first| first.name);
    let mut text = format!(
        "# Performance\n\n\
         Written by the benchmark; edit `{notes_name}` instead, which it includes.\n\n\
         Measured on: {}.\n\n\
         ```\n{command}\n```\n\n\
         {}Each role is a process \
         of its own with one connection, and each run has a server of its own in an empty \
         directory. Peers take turns, run by run; a figure is the median of its runs. \
         `vs {first}` is a figure divided by that of {first}: above 1 is better for jobs and calls \
         per second and worse for microseconds, bytes and milliseconds. Only figures of one table \
         compare.\n\n",
        machine(&report.machine),
        units_of_work(report)
    );
    if let Some(plot) = plot {
        let _ = writeln!(text, "![The same figures as bars]({plot})\n");
    }
    let loads = report.loads();
    for shape in Shape::all() {
        let mut loads = loads.iter().filter(|load| load.shape == shape).peekable();
        if loads.peek().is_some() {
            let _ = writeln!(text, "## {}\n\n{}\n", shape.name(), shape.about());
        }
        for load in loads {
            write_load(&mut text, report, *load, Look::Markdown);
        }
    }
    let _ = writeln!(text, "## Peers\n");
    write_peers(&mut text, report);
    if let Some(notes) = notes {
        let _ = writeln!(text, "\n## Notes\n\n{}", notes.trim_end());
    }
    text
}

/// What jobs and calls are, as far as they were measured.
fn units_of_work(report: &Report) -> String {
    let jobs = "One unit of work is a job's round trip, at least once: a producer enqueues it and is \
                confirmed; a worker receives it, does nothing, publishes a result of 16 bytes and \
                removes the job; a collector receives the result. Every result is checked. ";
    let calls = "In the shapes of calls it is one call of a shared object: a list, a dict of a thousand \
                 keys or a counter, the same for all callers. Answers are checked, and when all are \
                 there, the object is read back: every item, entry or the sum is as the calls must \
                 have left it. ";
    let has = |of_calls| report.loads().iter().any(|load| load.call.is_some() == of_calls);
    let parts = [(has(false), jobs), (has(true), calls)];
    parts.into_iter().filter(|(is_there, _)| *is_there).map(|(_, part)| part).collect()
}

fn write_load(text: &mut String, report: &Report, load: Load, look: Look) {
    heading(text, look, &title(load));
    let series: Vec<_> = report.series_of(load).collect();
    let _ = writeln!(text, "{}\n", table(&series, look));
    for series in series {
        if let Some(why) = series.unavailable {
            let _ = writeln!(text, "{}: {why}\n", series.peer);
        }
        for failure in &series.failures {
            let _ = writeln!(text, "{} FAILED: {failure}\n", series.peer);
        }
    }
}

fn write_peers(text: &mut String, report: &Report) {
    for contestant in &report.contestants {
        let (name, version, driven_as) =
            (contestant.name, &contestant.version, contestant.driven_as);
        let _ = writeln!(text, "- {name} ({version}): {driven_as}");
    }
    for missing in &report.missing {
        let _ = writeln!(text, "- {} did NOT take part: {}", missing.name, missing.reason);
    }
}

/// The machine in a line.
pub(crate) fn machine(machine: &Machine) -> String {
    let (cpu, cores, kernel) = (&machine.cpu, machine.cores, &machine.kernel);
    format!("{cpu}, {cores} cores, Linux {kernel}, data on {}", machine.file_system)
}

/// What a load is, in a line.
pub(crate) fn title(load: Load) -> String {
    let Load { shape, call, durability, payload } = load;
    let (name, durability, payload) = (load.name(), durability.name(), size(payload));
    match (call, shape.unit()) {
        (Some(call), _) if call.has_payload() => {
            format!("{name}, {payload} values, durability {durability}")
        }
        (Some(_), _) | (None, Unit::Milliseconds) => format!("{name}, durability {durability}"),
        (None, _) => format!("{name}, {payload} jobs, durability {durability}"),
    }
}

/// Begins a part of the text.
pub(crate) fn heading(text: &mut String, look: Look, title: &str) {
    let mark = match look {
        Look::Terminal => "",
        Look::Markdown => "### ",
    };
    let _ = writeln!(text, "{mark}{title}\n");
}

fn table(series: &[&Series], look: Look) -> Table {
    let Some(first) = series.first() else { return Table::new() };
    let columns = columns(first.load);
    let ratio = format!("vs {}", first.peer);
    let headers = columns.iter().map(|column| match column.name {
        RATIO => ratio.clone(),
        name => name.to_owned(),
    });
    let header = [vec!["peer".to_owned()], headers.collect()].concat();
    let rows = series.iter().map(|series| {
        let cells = columns.iter().map(|column| (column.cell)(series));
        [vec![series.peer.to_owned()], cells.collect()].concat()
    });
    drawn(look, header, rows)
}

/// A table whose columns are figures but for the first.
pub(crate) fn drawn(
    look: Look,
    header: Vec<String>,
    rows: impl IntoIterator<Item = Vec<String>>,
) -> Table {
    let mut table = Table::new();
    table.load_style(match look {
        Look::Terminal => presets::NOTHING,
        Look::Markdown => presets::ASCII_MARKDOWN,
    });
    table.set_header(header).add_rows(rows);
    table.column_iter_mut().skip(1).for_each(|column| {
        column.set_cell_alignment(CellAlignment::Right);
    });
    table
}

/// Stands for `vs` and the name of the first peer.
const RATIO: &str = "ratio";

/// A column: its cell is made of a series.
struct Column {
    name: &'static str,
    cell: fn(&Series) -> String,
}

fn columns(load: Load) -> Vec<Column> {
    let unit = load.shape.unit();
    let (server_cpu, roles_cpu) = match load.call {
        None => ("server CPU µs/job", "roles CPU µs/job"),
        Some(_) => ("server CPU µs/call", "callers CPU µs/call"),
    };
    let figure = Column { name: unit.name(), cell: |series| median(series.figure) };
    let range = Column { name: "min – max", cell: |series| range(series.figure) };
    let ratio = Column { name: RATIO, cell: ratio };
    let p99 = Column {
        name: "p99",
        cell: |series| median(series.spread(|run| Some(run.latency_us?.p99))),
    };
    let p999 = Column {
        name: "p99.9",
        cell: |series| median(series.spread(|run| Some(run.latency_us?.p999))),
    };
    let server_cpu =
        Column { name: server_cpu, cell: |series| median(series.spread(|run| run.server_cpu_us)) };
    let roles_cpu =
        Column { name: roles_cpu, cell: |series| median(series.spread(|run| run.roles_cpu_us)) };
    let rss = Column {
        name: "RSS MiB",
        cell: |series| {
            median(series.spread(|run| Some(run.server_rss as f64 / f64::from(1 << 20))))
        },
    };
    match unit {
        Unit::MicrosecondsP50 => vec![figure, range, ratio, p99, p999, server_cpu, roles_cpu],
        Unit::JobsPerSecond | Unit::CallsPerSecond => {
            vec![figure, range, ratio, server_cpu, roles_cpu, rss]
        }
        Unit::BytesPerJob | Unit::Milliseconds => vec![figure, range, ratio, rss],
    }
}

/// The median, or a dash.
pub(crate) fn median(spread: Option<Spread>) -> String {
    spread.map_or_else(|| "–".to_owned(), |spread| short(spread.median))
}

/// From the least to the most, or a dash.
pub(crate) fn range(spread: Option<Spread>) -> String {
    spread.map_or_else(
        || "–".to_owned(),
        |spread| format!("{} – {}", short(spread.min), short(spread.max)),
    )
}

fn ratio(series: &Series) -> String {
    series.ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::level::Level;
    use crate::peers;
    use crate::procfs;
    use crate::report::Run;

    fn series(peer: &str, durability: Level, figures: &[f64]) -> Series {
        let load = Load { shape: Shape::Latency, call: None, durability, payload: 16 };
        let mut series = Series::new(load, peers::find(peer).unwrap(), None);
        for &figure in figures {
            series.add(Ok(Run {
                jobs: 1,
                seconds: 1.0,
                figure,
                latency_us: None,
                server_cpu_us: None,
                roles_cpu_us: None,
                server_rss: 0,
                results: None,
            }));
        }
        series
    }

    fn report(series: Vec<Series>) -> Report {
        let machine = procfs::machine(Path::new("/"));
        Report { v: 1, machine, contestants: vec![], missing: vec![], series }
    }

    #[test]
    fn ratio_is_the_figure_divided_by_that_of_the_first_peer() {
        let none = Level::None;
        let (first, mut slow) =
            (series("ganger", none, &[20.0]), series("beanstalkd", none, &[30.0]));
        slow.compare(first.figure);
        let text = render(&report(vec![first, slow]), Look::Markdown);
        assert!(text.contains("vs ganger") && text.contains("1.50"), "{text}");
    }

    #[test]
    fn load_that_a_peer_cannot_carry_is_named_and_no_failure() {
        let why = "keeps no journal";
        let lacking = Series { unavailable: Some(why), ..series("ganger", Level::Strict, &[]) };
        let report = report(vec![lacking]);
        assert!(render(&report, Look::Terminal).contains(why));
        assert_eq!(report.failures(), 0);
    }

    #[test]
    fn page_has_command_plot_shape_and_notes() {
        let report = report(vec![series("ganger", Level::None, &[20.0])]);
        let parts = Page {
            command: "bench all".to_owned(),
            plot: Some("bars.svg".to_owned()),
            notes_name: "cold-notes.md".to_owned(),
            notes: Some("It was cold.".to_owned()),
        };
        let text = page(&report, &parts);
        for part in ["bench all", "(bars.svg)", "It was cold.", Shape::Latency.about()] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    }
}
