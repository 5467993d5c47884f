//! Renders line charts into one SVG file.

use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;

const COLUMNS: usize = 3;
/// Pixels of one chart.
const SIZE: (u32, u32) = (400, 370);
const TITLE_HEIGHT: u32 = 20;

/// One chart.
#[derive(Debug, Clone)]
pub struct Chart<'a> {
    pub caption: String,
    /// Label of the x axis.
    pub along: &'a str,
    /// Linear x axis with steps of one; otherwise powers of ten.
    pub few_steps: bool,
    /// Otherwise the y axis is linear from 0: the values spread over less than a power of ten.
    pub logarithmic: bool,
    pub lines: Vec<Line<'a>>,
}

#[derive(Debug, Clone)]
pub struct Line<'a> {
    pub name: &'a str,
    pub tone: Tone,
    pub points: Vec<(f64, f64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// For the reference.
    Grey,
    Blue,
    Orange,
    Green,
    Red,
    Violet,
}

impl Tone {
    fn color(self) -> RGBColor {
        match self {
            Self::Grey => RGBColor(150, 150, 150),
            Self::Blue => RGBColor(20, 90, 170),
            Self::Orange => RGBColor(220, 120, 20),
            Self::Green => RGBColor(40, 140, 80),
            Self::Red => RGBColor(190, 40, 50),
            Self::Violet => RGBColor(120, 70, 160),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot draw {path}: {why}")]
pub struct PlotError {
    path: String,
    why: String,
}

/// Draws all charts; one without points stays empty.
///
/// # Errors
///
/// If the file cannot be written.
pub fn plot(path: &Path, title: &str, charts: &[Chart<'_>]) -> Result<(), PlotError> {
    let failed = |why: String| PlotError { path: path.display().to_string(), why };
    let columns = charts.len().clamp(1, COLUMNS);
    let rows = charts.len().div_ceil(columns).max(1);
    let many = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let size = (SIZE.0 * many(columns), SIZE.1.saturating_mul(many(rows)).saturating_add(TITLE_HEIGHT));
    let area = SVGBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE).map_err(|error| failed(error.to_string()))?;
    let area = area.titled(title, ("sans-serif", TITLE_HEIGHT)).map_err(|error| failed(error.to_string()))?;
    for (part, chart) in area.split_evenly((rows, columns)).iter().zip(charts) {
        if chart.points().next().is_some() {
            draw(part, chart).map_err(failed)?;
        }
    }
    area.present().map_err(|error| failed(error.to_string()))
}

impl Chart<'_> {
    fn points(&self) -> impl Iterator<Item = &(f64, f64)> {
        self.lines.iter().flat_map(|line| &line.points)
    }

    fn range(&self, of: impl Fn(&(f64, f64)) -> f64) -> Range<f64> {
        let (low, high) = self
            .points()
            .map(of)
            .fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        low..high
    }
}

fn draw(area: &DrawingArea<SVGBackend<'_>, Shift>, chart_data: &Chart<'_>) -> Result<(), String> {
    let (x, y) = (chart_data.range(|point| point.0), chart_data.range(|point| point.1));
    let mut chart = ChartBuilder::on(area);
    chart
        .caption(&chart_data.caption, ("sans-serif", 15))
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(58);
    let high = y.end * 1.1;
    // The kinds of axes are different types.
    match (chart_data.few_steps, chart_data.logarithmic) {
        (true, _) => finish(
            chart.build_cartesian_2d(x.start - 0.5..x.end + 0.5, 0.0..high).map_err(|e| e.to_string())?,
            chart_data,
        ),
        (false, false) => {
            finish(chart.build_cartesian_2d(x.log_scale(), 0.0..high).map_err(|e| e.to_string())?, chart_data)
        }
        (false, true) => finish(
            chart
                .build_cartesian_2d(x.log_scale(), (y.start / 1.5..y.end * 1.5).log_scale())
                .map_err(|e| e.to_string())?,
            chart_data,
        ),
    }
}

fn finish<'a, B, X, Y>(
    mut chart: ChartContext<'a, B, Cartesian2d<X, Y>>,
    chart_data: &Chart<'_>,
) -> Result<(), String>
where
    B: DrawingBackend + 'a,
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .x_desc(chart_data.along)
        .light_line_style(WHITE)
        .draw()
        .map_err(|e| e.to_string())?;
    for Line { name, tone, points } in &chart_data.lines {
        let color = tone.color();
        chart
            .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)).point_size(3))
            .map_err(|e| e.to_string())?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .background_style(WHITE.mix(0.8))
        .draw()
        .map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chart_with_points_is_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("growth.svg");
        let chart = |number: usize, points: &[(f64, f64)]| Chart {
            caption: format!("chart {number}"),
            along: "machines",
            few_steps: number == 1,
            logarithmic: number == 2,
            lines: vec![
                Line { name: "etcd", tone: Tone::Grey, points: points.to_vec() },
                Line { name: "Keelson", tone: Tone::Blue, points: points.to_vec() },
            ],
        };
        let points = [(1.0, 5.0), (1000.0, 70.0)];
        let charts: Vec<_> =
            (0..5).map(|number| chart(number, if number == 0 { &[] } else { &points })).collect();
        plot(&path, "Title", &charts).unwrap();
        let picture = std::fs::read_to_string(&path).unwrap();
        for (number, chart) in charts.iter().enumerate() {
            assert_eq!(picture.contains(&chart.caption), number > 0, "{}", chart.caption);
        }
        assert!(picture.contains("Keelson"));
        let error = plot(&folder.path().join("none/growth.svg"), "Title", &charts).unwrap_err();
        assert!(error.to_string().contains("none/growth.svg"), "{error}");
    }
}
