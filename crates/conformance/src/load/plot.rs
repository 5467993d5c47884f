//! The panels of a growth report as one picture (SVG), two programs side by side in each.

use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;

use super::figures::Side;
use super::growth::{PANELS, Panel, Point};

const SIZE: (u32, u32) = (1200, 760);
const COLUMNS: usize = 3;
const REFERENCE: RGBColor = RGBColor(150, 150, 150);
const OURS: RGBColor = RGBColor(20, 90, 170);

#[derive(Debug, thiserror::Error)]
#[error("can not draw {path}: {why}")]
pub struct PlotError {
    path: String,
    why: String,
}

/// Draws all panels; a panel without points stays empty.
///
/// # Errors
/// When the file can not be written.
pub fn plot(path: &Path, title: &str, points: &[(Side, Point)]) -> Result<(), PlotError> {
    let failed = |why: String| PlotError { path: path.display().to_string(), why };
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE).map_err(|error| failed(error.to_string()))?;
    let area = area.titled(title, ("sans-serif", 20)).map_err(|error| failed(error.to_string()))?;
    for (place, part) in area.split_evenly((PANELS.len().div_ceil(COLUMNS), COLUMNS)).iter().enumerate() {
        let Some(panel) = PANELS.get(place) else { continue };
        let of = |wanted| {
            let chosen = |(side, point): &&(Side, Point)| *side == wanted && point.panel == *panel;
            points.iter().filter(chosen).map(|(_, point)| (point.at, point.value)).collect()
        };
        let lines = Lines { reference: of(Side::Reference), ours: of(Side::Ours) };
        if lines.reference.is_empty() && lines.ours.is_empty() {
            continue;
        }
        draw(part, *panel, &lines).map_err(failed)?;
    }
    area.present().map_err(|error| failed(error.to_string()))
}

struct Lines {
    reference: Vec<(f64, f64)>,
    ours: Vec<(f64, f64)>,
}

impl Lines {
    fn all(&self) -> impl Iterator<Item = &(f64, f64)> {
        self.reference.iter().chain(&self.ours)
    }

    fn range(&self, of: impl Fn(&(f64, f64)) -> f64) -> Range<f64> {
        let (low, high) = self
            .all()
            .map(of)
            .fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        low..high
    }
}

fn draw(area: &DrawingArea<SVGBackend<'_>, Shift>, panel: Panel, lines: &Lines) -> Result<(), String> {
    let (x, y) = (lines.range(|point| point.0), lines.range(|point| point.1));
    let caption = format!("{} ({})", panel.what, panel.unit);
    let mut chart = ChartBuilder::on(area);
    chart.caption(caption, ("sans-serif", 15)).margin(10).x_label_area_size(36).y_label_area_size(58);
    let members = panel.along == "members";
    let high = y.end * 1.1;
    // The four kinds of axes are four types.
    match (members, panel.logarithmic) {
        (true, _) => finish(
            chart.build_cartesian_2d(x.start - 0.5..x.end + 0.5, 0.0..high).map_err(|e| e.to_string())?,
            panel,
            lines,
        ),
        (false, false) => finish(
            chart.build_cartesian_2d(x.log_scale(), 0.0..high).map_err(|e| e.to_string())?,
            panel,
            lines,
        ),
        (false, true) => finish(
            chart
                .build_cartesian_2d(x.log_scale(), (y.start / 1.5..y.end * 1.5).log_scale())
                .map_err(|e| e.to_string())?,
            panel,
            lines,
        ),
    }
}

fn finish<'a, B, X, Y>(
    mut chart: ChartContext<'a, B, Cartesian2d<X, Y>>,
    panel: Panel,
    lines: &Lines,
) -> Result<(), String>
where
    B: DrawingBackend + 'a,
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart.configure_mesh().x_desc(panel.along).light_line_style(WHITE).draw().map_err(|e| e.to_string())?;
    for (name, color, points) in [("etcd 3.4", REFERENCE, &lines.reference), ("Keelson", OURS, &lines.ours)] {
        chart
            .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)).point_size(3))
            .map_err(|e| e.to_string())?
            .label(name)
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
    fn every_panel_with_points_is_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("growth.svg");
        let mut points = Vec::new();
        for panel in &PANELS[1..] {
            for (at, value) in [(1.0, 5.0), (1000.0, 70.0)] {
                let point = |value| Point { panel: *panel, at, value };
                points.push((Side::Reference, point(value)));
                points.push((Side::Ours, point(value * 2.0)));
            }
        }
        plot(&path, "Title", &points).unwrap();
        let picture = std::fs::read_to_string(&path).unwrap();
        for (place, panel) in PANELS.iter().enumerate() {
            let caption = format!("{} ({})", panel.what, panel.unit);
            assert_eq!(picture.contains(&caption), place > 0, "{caption}");
        }
        assert!(picture.contains("Keelson"));
        let error = plot(&folder.path().join("none/growth.svg"), "Title", &points).unwrap_err();
        assert!(error.to_string().contains("none/growth.svg"), "{error}");
    }
}
