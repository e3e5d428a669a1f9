//! A report as a picture: a panel per load, a bar per peer, a line from the worst to the best run.
//! Not a chart with axes: each bar has its figure beside it.

use anyhow::Result;
use plotters::coord::Shift;
use plotters::prelude::{
    DrawingArea, IntoDrawingArea as _, IntoFont as _, PathElement, RGBColor, Rectangle, SVGBackend,
    Text,
};
use plotters::style::{Color as _, TextStyle};

use crate::report::{Load, Report, Series, short};
use crate::table::title;

/// How many panels are side by side.
pub(crate) const COLUMNS: usize = 2;

/// Lengths in pixels.
const PANEL_WIDTH: i32 = 460;
const MARGIN: i32 = 16;
const TITLE_HEIGHT: i32 = 44;
const ROW_HEIGHT: i32 = 24;
const BAR_HEIGHT: i32 = 14;
/// Where bars begin, and how long the longest is: names are before, figures after.
const BAR_START: i32 = 105;
const BAR_LEN_MAX: i32 = 220;

pub(crate) const PAPER: RGBColor = RGBColor(255, 255, 255);
pub(crate) const INK: RGBColor = RGBColor(36, 41, 47);
const PALE: RGBColor = RGBColor(110, 119, 129);
/// The first peer, the others, and the limit.
pub(crate) const FIRST: RGBColor = RGBColor(38, 112, 184);
const OTHERS: RGBColor = RGBColor(157, 178, 199);
pub(crate) const PALE_GRAY: RGBColor = RGBColor(226, 230, 234);

pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws `report` as SVG.
///
/// # Errors
///
/// The drawing library refuses.
pub(crate) fn render(report: &Report) -> Result<String> {
    let panels: Vec<_> = report.loads().into_iter().map(|load| Panel::new(report, load)).collect();
    let rows: Vec<_> = panels.chunks(COLUMNS).collect();
    let columns = i32::try_from(panels.len().clamp(1, COLUMNS))?;
    let width = u32::try_from(columns * PANEL_WIDTH + MARGIN)?;
    let height = rows.iter().map(|row| row_height(row)).sum::<i32>() + MARGIN;
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (width, u32::try_from(height)?));
    let area = area.into_drawing_area();
    area.fill(&PAPER)?;
    let mut top = MARGIN;
    for row in rows {
        let mut left = MARGIN;
        for panel in row {
            panel.draw(&area, left, top)?;
            left += PANEL_WIDTH;
        }
        top += row_height(row);
    }
    area.present()?;
    drop(area);
    Ok(svg)
}

/// The bars of one load.
struct Panel<'a> {
    load: Load,
    series: Vec<&'a Series>,
    /// The figure whose bar is the longest. The limit does not count: it may be far beyond.
    scale: f64,
}

impl<'a> Panel<'a> {
    fn new(report: &'a Report, load: Load) -> Self {
        let series: Vec<_> = report.series_of(load).collect();
        let largest = |with_limit: bool| {
            let counting = series.iter().filter(|series| with_limit || !series.is_limit);
            counting.filter_map(|series| Some(series.figure?.max)).fold(0.0, f64::max)
        };
        let scale = if largest(false) > 0.0 { largest(false) } else { largest(true) };
        Self { load, series, scale: scale.max(f64::MIN_POSITIVE) }
    }

    fn height(&self) -> i32 {
        let bars = i32::try_from(self.series.len()).unwrap_or(i32::MAX / ROW_HEIGHT / 2);
        TITLE_HEIGHT + bars * ROW_HEIGHT + MARGIN
    }

    fn draw(&self, area: &Area<'_>, left: i32, top: i32) -> Result<()> {
        let unit = self.load.shape.unit();
        let better = if unit.higher_is_better() { "higher" } else { "lower" };
        area.draw(&Text::new(title(self.load), (left, top + 4), style(15, INK)))?;
        // On a line of its own, since the longest title fills the panel.
        let unit = format!("{}, {better} is better", unit.name());
        area.draw(&Text::new(unit, (left, top + 22), style(12, PALE)))?;
        let mut y = top + TITLE_HEIGHT;
        for (at, series) in self.series.iter().enumerate() {
            let color = match (at, series.is_limit) {
                (_, true) => PALE_GRAY,
                (0, false) => FIRST,
                (_, false) => OTHERS,
            };
            self.draw_bar(area, series, color, (left, y))?;
            y += ROW_HEIGHT;
        }
        Ok(())
    }

    fn draw_bar(
        &self,
        area: &Area<'_>,
        series: &Series,
        color: RGBColor,
        (left, y): (i32, i32),
    ) -> Result<()> {
        area.draw(&Text::new(series.peer, (left, y), style(13, INK)))?;
        let start = left + BAR_START;
        let Some(figure) = series.figure else {
            let why = if series.unavailable.is_some() { "not offered" } else { "failed" };
            area.draw(&Text::new(why, (start, y), style(13, PALE)))?;
            return Ok(());
        };
        let end = start + self.length(figure.median);
        area.draw(&Rectangle::new([(start, y), (end, y + BAR_HEIGHT)], color.filled()))?;
        let (min, max) = (start + self.length(figure.min), start + self.length(figure.max));
        let middle = y + BAR_HEIGHT / 2;
        area.draw(&PathElement::new([(min, middle), (max, middle)], INK))?;
        let (text, ink) = match series.is_limit {
            true => (format!("{} (the limit)", short(figure.median)), PALE),
            false => (short(figure.median), INK),
        };
        area.draw(&Text::new(text, (end.max(max) + 6, y), style(13, ink)))?;
        Ok(())
    }

    /// How long the bar of `value` is.
    fn length(&self, value: f64) -> i32 {
        let share = (value / self.scale).clamp(0.0, 1.0);
        #[expect(clippy::cast_possible_truncation, reason = "at most BAR_LEN_MAX")]
        let length = (share * f64::from(BAR_LEN_MAX)).round() as i32;
        length
    }
}

fn row_height(panels: &[Panel<'_>]) -> i32 {
    panels.iter().map(Panel::height).max().unwrap_or(0)
}

pub(crate) fn style(size: i32, color: RGBColor) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&color)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::level::Level;
    use crate::peers;
    use crate::procfs;
    use crate::report::{Run, Series};
    use crate::shapes::Shape;

    #[test]
    fn bar_has_name_and_figure() {
        let load = Load { shape: Shape::Best, call: None, durability: Level::None, payload: 16 };
        let mut series = Series::new(load, peers::ALL[0], None);
        series.add(Ok(Run {
            jobs: 3,
            seconds: 1.0,
            figure: 1_441_000.0,
            latency_us: None,
            server_cpu_us: None,
            roles_cpu_us: None,
            server_rss: 0,
            results: None,
        }));
        let report = Report {
            v: 1,
            machine: procfs::machine(Path::new("/")),
            contestants: vec![],
            missing: vec![],
            series: vec![series],
        };
        let svg = render(&report).unwrap();
        for text in [peers::ALL[0].name(), "1.44 M", "best, 16 B jobs, durability none"] {
            assert!(svg.contains(text), "no {text:?} in {svg}");
        }
    }
}
