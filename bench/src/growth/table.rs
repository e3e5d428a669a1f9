//! A report as tables: aligned for a terminal, or as a page of Markdown.
//! Not what is measured: `report` has that.

use std::fmt::Write as _;

use super::report::{Curve, Report, Step};
use crate::page::Page;
use crate::report::short;
use crate::table::{Look, drawn, heading, machine, median, range};

/// All tables of a report: how each curve rises, then every curve.
pub(crate) fn render(report: &Report, look: Look) -> String {
    let mut text = String::new();
    heading(&mut text, look, "How what a job or a call costs the broker grows");
    write_trends(&mut text, report, look);
    for curve in &report.curves {
        let title = format!("{}, durability {}", curve.dimension.name(), report.durability);
        heading(&mut text, look, &title);
        write_curve(&mut text, curve, look);
    }
    let _ = writeln!(text, "{}", machine(&report.machine));
    text
}

/// The report as a page of documentation.
pub(crate) fn page(report: &Report, page: &Page) -> String {
    let Page { command, plot, notes_name, notes } = page;
    let Report { jobs, runs, durability, .. } = report;
    let mut text = format!(
        "# Growth\n\n\
         Written by the benchmark; edit `{notes_name}` instead, which it includes.\n\n\
         Measured on: {}.\n\n\
         ```\n{command}\n```\n\n\
         What a job costs Ganger's broker as there is more of something else. At each step a broker \
         of its own is brought there; then {jobs} jobs of 16 bytes (fewer where payloads are large) \
         are submitted one by one, assigned and settled, always as many on their way. Each is \
         checked to be settled exactly once. The figure is the CPU time of the broker per job, in \
         microseconds, the median of {runs} runs: unlike jobs per second it does not depend on how \
         late a process is woken. Where a list grows it is calls of the list instead, as many, and \
         each answer is checked. All steps take turns, run by run. Durability is {durability}.\n\n",
        machine(&report.machine)
    );
    if let Some(plot) = plot {
        let _ = writeln!(text, "![Cost per job along each dimension]({plot})\n");
    }
    let _ = writeln!(text, "## How it grows\n");
    write_trends(&mut text, report, Look::Markdown);
    let _ = writeln!(
        text,
        "The exponent is that of the power of the size that fits best: 0 is flat, 1 is linear. Flat \
         is below 0.03, which is a third more after four decades; logarithmic below 0.1.\n"
    );
    for curve in &report.curves {
        let dimension = curve.dimension;
        let _ = writeln!(text, "## {}\n\n{}\n", dimension.name(), dimension.about());
        write_curve(&mut text, curve, Look::Markdown);
    }
    if let Some(notes) = notes {
        let _ = writeln!(text, "## Notes\n\n{}", notes.trim_end());
    }
    text
}

fn write_trends(text: &mut String, report: &Report, look: Look) {
    let header = ["what grows", "from", "to", "server CPU µs", "ratio", "exponent", "growth"];
    let rows = report.curves.iter().filter_map(|curve| {
        let (first, last) = (curve.steps.first()?, curve.steps.last()?);
        let label = |step: &Step| curve.dimension.label(step.size);
        let figures = match &curve.trend {
            Some(trend) => [
                format!("{} – {}", median(first.cpu_us), median(last.cpu_us)),
                format!("{:.2}", trend.ratio),
                format!("{:.3}", trend.exponent),
                trend.growth.name().to_owned(),
            ],
            None => [median(first.cpu_us), "–".to_owned(), "–".to_owned(), "–".to_owned()],
        };
        let name = curve.dimension.name().to_owned();
        Some([vec![name, label(first), label(last)], figures.to_vec()].concat())
    });
    let table = drawn(look, header.map(str::to_owned).to_vec(), rows);
    let _ = writeln!(text, "{table}\n");
}

fn write_curve(text: &mut String, curve: &Curve, look: Look) {
    let dimension = curve.dimension;
    let (name, work) = (dimension.name().to_owned(), dimension.work());
    let mut header =
        vec![name, format!("server CPU µs/{work}"), "min – max".to_owned(), format!("{work}s/s")];
    header.extend(dimension.unit().map(|unit| format!("bytes/{unit}")));
    let rows = curve.steps.iter().map(|step| {
        let mut row = vec![
            dimension.label(step.size),
            median(step.cpu_us),
            range(step.cpu_us),
            median(step.jobs_per_second),
        ];
        if dimension.unit().is_some() {
            row.push(step.unit_bytes.map_or_else(|| "–".to_owned(), |bytes| short(bytes.median)));
        }
        row
    });
    let _ = writeln!(text, "{}\n", drawn(look, header, rows));
    for step in &curve.steps {
        for failure in &step.failures {
            let _ = writeln!(text, "{} FAILED: {failure}\n", dimension.label(step.size));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::growth::dimension::Dimension;
    use crate::growth::report::Run;
    use crate::procfs;

    fn report() -> Report {
        let mut curve = Curve::new(Dimension::Queues, &[10, 100_000]);
        for (step, cpu_us) in curve.steps.iter_mut().zip([2.0, 3.0]) {
            let jobs_per_second = 1e6 / cpu_us;
            step.add(Ok(Run { jobs: 1, seconds: 1.0, cpu_us, jobs_per_second, unit_bytes: None }));
        }
        curve.conclude();
        let machine = procfs::machine(Path::new("/"));
        Report { v: 1, machine, durability: "none", jobs: 1, runs: 1, curves: vec![curve] }
    }

    #[test]
    fn table_says_how_much_more_the_last_step_costs() {
        let text = render(&report(), Look::Terminal);
        for part in ["100 k", "1.50", "0.044", "logarithmic", "bytes/queue"] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    }

    #[test]
    fn page_has_command_plot_and_notes() {
        let page_parts = Page {
            command: "bench growth".to_owned(),
            plot: Some("growth.svg".to_owned()),
            notes_name: "cold-notes.md".to_owned(),
            notes: Some("It was cold.".to_owned()),
        };
        let text = page(&report(), &page_parts);
        for part in ["bench growth", "(growth.svg)", "It was cold.", Dimension::Queues.about()] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    }
}
