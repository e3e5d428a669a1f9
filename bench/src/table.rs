//! A report as tables: aligned for a terminal, or as Markdown.
//! Not what is measured: `report` has that.

use std::fmt::Write as _;

use clap::ValueEnum as _;
use comfy_table::{CellAlignment, Table, presets};

use crate::peer::Durability;
use crate::report::{Load, Report, Series, Spread, short, size};
use crate::shapes::Unit;

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
        heading(&mut text, look, &title(load));
        let series: Vec<_> = report.series_of(load).collect();
        let _ = writeln!(text, "{}\n", table(&series, look));
        for series in series {
            for failure in &series.failures {
                let _ = writeln!(text, "{} FAILED: {failure}\n", series.peer);
            }
        }
    }
    heading(&mut text, look, "peers");
    for contestant in &report.contestants {
        let (name, version, driven_as) =
            (contestant.name, &contestant.version, contestant.driven_as);
        let _ = writeln!(text, "- {name} ({version}): {driven_as}");
    }
    for missing in &report.missing {
        let _ = writeln!(text, "- {} did NOT take part: {}", missing.name, missing.reason);
    }
    let machine = &report.machine;
    let (cpu, cores, kernel) = (&machine.cpu, machine.cores, &machine.kernel);
    let _ =
        writeln!(text, "\n{cpu}, {cores} cores, Linux {kernel}, data on {}", machine.file_system);
    text
}

/// What a load is, in a line.
pub(crate) fn title(load: Load) -> String {
    let Load { shape, durability, payload } = load;
    let durability = durability_name(durability);
    match shape.unit() {
        Unit::Milliseconds => format!("{}, durability {durability}", shape.name()),
        Unit::MicrosecondsP50 | Unit::JobsPerSecond | Unit::BytesPerJob => {
            format!("{}, {} jobs, durability {durability}", shape.name(), size(payload))
        }
    }
}

fn durability_name(durability: Durability) -> String {
    let value = durability.to_possible_value();
    value.map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn heading(text: &mut String, look: Look, title: &str) {
    let mark = match look {
        Look::Terminal => "",
        Look::Markdown => "### ",
    };
    let _ = writeln!(text, "{mark}{title}\n");
}

fn table(series: &[&Series], look: Look) -> Table {
    let Some(first) = series.first() else { return Table::new() };
    let mut table = Table::new();
    table.load_style(match look {
        Look::Terminal => presets::NOTHING,
        Look::Markdown => presets::ASCII_MARKDOWN,
    });
    let columns = columns(first.unit);
    let headers = columns.iter().map(|column| column.name.to_owned());
    table.set_header([vec!["peer".to_owned()], headers.collect()].concat());
    for series in series {
        let cells = columns.iter().map(|column| (column.cell)(series, first.figure));
        table.add_row([vec![series.peer.to_owned()], cells.collect()].concat());
    }
    table.column_iter_mut().skip(1).for_each(|column| {
        column.set_cell_alignment(CellAlignment::Right);
    });
    table
}

/// A column: its cell is made of a series and the figure of the first peer.
struct Column {
    name: &'static str,
    cell: fn(&Series, Option<Spread>) -> String,
}

fn columns(unit: Unit) -> Vec<Column> {
    let figure = Column { name: unit.name(), cell: |series, _| median(series.figure) };
    let range = Column { name: "min – max", cell: |series, _| range(series.figure) };
    let ratio = Column { name: "ratio", cell: ratio };
    let p99 = Column {
        name: "p99",
        cell: |series, _| median(series.spread(|run| Some(run.latency_us?.p99))),
    };
    let p999 = Column {
        name: "p99.9",
        cell: |series, _| median(series.spread(|run| Some(run.latency_us?.p999))),
    };
    let server_cpu = Column {
        name: "server CPU µs/job",
        cell: |series, _| median(series.spread(|run| run.server_cpu_us)),
    };
    let roles_cpu = Column {
        name: "roles CPU µs/job",
        cell: |series, _| median(series.spread(|run| run.roles_cpu_us)),
    };
    let rss = Column {
        name: "RSS MiB",
        cell: |series, _| {
            median(series.spread(|run| Some(run.server_rss as f64 / f64::from(1 << 20))))
        },
    };
    match unit {
        Unit::MicrosecondsP50 => vec![figure, range, ratio, p99, p999, server_cpu, roles_cpu],
        Unit::JobsPerSecond => vec![figure, range, ratio, server_cpu, roles_cpu, rss],
        Unit::BytesPerJob | Unit::Milliseconds => vec![figure, range, ratio, rss],
    }
}

fn median(spread: Option<Spread>) -> String {
    spread.map_or_else(|| "–".to_owned(), |spread| short(spread.median))
}

fn range(spread: Option<Spread>) -> String {
    spread.map_or_else(
        || "–".to_owned(),
        |spread| format!("{} – {}", short(spread.min), short(spread.max)),
    )
}

/// How many times better than the first peer.
fn ratio(series: &Series, first: Option<Spread>) -> String {
    let (Some(own), Some(first)) = (series.figure, first) else { return "–".to_owned() };
    let ratio = if series.unit.higher_is_better() {
        own.median / first.median
    } else {
        first.median / own.median
    };
    format!("{ratio:.2}")
}
