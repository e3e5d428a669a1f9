//! A report as a picture: a panel for each dimension, both axes logarithmic, so that what grows like
//! a power of the size is a straight line, and what does not grow a level one.
//! Not the words: `table` has them.

use std::ops::Range;

use anyhow::Result;
use plotters::prelude::{
    ChartBuilder, Circle, IntoDrawingArea as _, IntoLogRange as _, LineSeries, PathElement,
    SVGBackend,
};
use plotters::style::Color as _;

use super::report::{Curve, Report, Step};
use crate::plot::{Area, COLUMNS, FIRST, INK, PALE_GRAY, PAPER, style};
use crate::report::{Spread, short};

/// Lengths in pixels.
const PANEL_WIDTH: u32 = 470;
const PANEL_HEIGHT: u32 = 270;
const MARGIN: u32 = 14;

/// Draws `report` as SVG.
///
/// # Errors
///
/// The drawing library refuses.
pub(crate) fn render(report: &Report) -> Result<String> {
    let rows = report.curves.len().div_ceil(COLUMNS).max(1);
    let columns = report.curves.len().clamp(1, COLUMNS);
    let width = u32::try_from(columns)? * PANEL_WIDTH;
    let height = u32::try_from(rows)? * PANEL_HEIGHT;
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
    area.fill(&PAPER)?;
    for (panel, curve) in area.split_evenly((rows, columns)).iter().zip(&report.curves) {
        draw(panel, curve)?;
    }
    area.present()?;
    drop(area);
    Ok(svg)
}

fn draw(panel: &Area<'_>, curve: &Curve) -> Result<()> {
    let dimension = curve.dimension;
    let point = |step: &Step| Some((step.size as f64, step.cpu_us?));
    let points: Vec<(f64, Spread)> = curve.steps.iter().filter_map(point).collect();
    let trend = curve.trend.map_or_else(String::new, |trend| {
        format!(", {} (exponent {:.2})", trend.growth.name(), trend.exponent)
    });
    let title = format!("{}: server CPU µs/{}{trend}", dimension.name(), dimension.work());
    let (across, up) = (across(&points), up(&points));
    let mut chart = ChartBuilder::on(panel)
        .margin(MARGIN)
        .caption(title, style(15, INK))
        .x_label_area_size(24)
        .y_label_area_size(46)
        .build_cartesian_2d(across.log_scale().base(dimension.base()), up.log_scale())?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of things"
    )]
    let label = |size: &f64| dimension.label(size.round() as u64);
    chart
        .configure_mesh()
        .max_light_lines(0)
        .bold_line_style(PALE_GRAY)
        .axis_style(INK)
        .label_style(style(12, INK))
        .x_labels(8)
        .y_labels(4)
        .x_label_formatter(&label)
        .y_label_formatter(&|cost| short(*cost))
        .draw()?;
    let bars =
        points.iter().map(|&(x, cost)| PathElement::new([(x, cost.min), (x, cost.max)], INK));
    chart.draw_series(bars)?;
    let medians = points.iter().map(|&(x, cost)| (x, cost.median));
    chart.draw_series(LineSeries::new(medians.clone(), FIRST.stroke_width(2)))?;
    chart.draw_series(medians.map(|point| Circle::new(point, 3, FIRST.filled())))?;
    Ok(())
}

/// From the first to the last size, and a little room.
fn across(points: &[(f64, Spread)]) -> Range<f64> {
    let least = points.first().map_or(1.0, |(size, _)| *size);
    let most = points.last().map_or(10.0, |(size, _)| *size).max(least * 2.0);
    least * 0.8..most * 1.25
}

/// Two decades at least, with the costs in their middle: a curve looks as steep as it is.
fn up(points: &[(f64, Spread)]) -> Range<f64> {
    let least = points.iter().map(|(_, cost)| cost.min).fold(f64::INFINITY, f64::min);
    let most = points.iter().map(|(_, cost)| cost.max).fold(0.0, f64::max);
    if most <= 0.0 || least <= 0.0 {
        return 1.0..100.0;
    }
    let room = (10.0 / (most / least).sqrt()).max(1.3);
    least / room..most * room
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::growth::dimension::Dimension;
    use crate::growth::report::Run;
    use crate::procfs;

    #[test]
    fn panel_has_name_trend_and_sizes() {
        let mut curve = Curve::new(Dimension::Backlog, &[1_000, 100_000, 10_000_000]);
        for step in &mut curve.steps {
            let (jobs_per_second, unit_bytes) = (3e5, None);
            step.add(Ok(Run { jobs: 1, seconds: 1.0, cpu_us: 3.0, jobs_per_second, unit_bytes }));
        }
        curve.conclude();
        let machine = procfs::machine(Path::new("/"));
        let report =
            Report { v: 1, machine, durability: "none", jobs: 1, runs: 1, curves: vec![curve] };
        let svg = render(&report).unwrap();
        for text in ["backlog: server CPU µs/job, flat (exponent", "10 M", "100 k"] {
            assert!(svg.contains(text), "no {text:?} in {svg}");
        }
    }

    #[test]
    fn costs_are_in_the_middle_of_two_decades() {
        let cost = Spread { median: 3.0, min: 2.0, max: 4.0 };
        let range = up(&[(1.0, cost)]);
        assert!((range.end / range.start - 100.0).abs() < 1e-6, "{range:?}");
    }
}
