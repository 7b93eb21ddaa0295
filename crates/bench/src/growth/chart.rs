//! Small charts with logarithmic axes, as SVG text. Lines are told apart by shade, dash and a label at their
//! end, so that colour never carries meaning alone.

use std::fmt::Write as _;

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 260.0;
/// Left, right, top, bottom of the plot within a panel.
const MARGINS: (f64, f64, f64, f64) = (52.0, 112.0, 30.0, 30.0);
const COLUMNS: usize = 2;
/// Labels at line ends keep this distance.
const LABEL_GAP: f64 = 13.0;
const COLOURS: &[&str] = &["#1b6e8c", "#b5651d", "#5a3e85", "#3f7d3a"];

/// One line of a chart.
#[derive(Debug)]
pub(super) struct Line {
    label: String,
    points: Vec<(f64, f64)>,
    is_quoted: bool,
}

impl Line {
    /// Measured points, ascending.
    pub fn new(label: &str, points: Vec<(f64, f64)>) -> Self {
        Self { label: label.to_owned(), points, is_quoted: false }
    }
    /// Points that somebody else measured: grey and dashed.
    pub fn quoted(label: &str, points: Vec<(f64, f64)>) -> Self {
        Self { is_quoted: true, ..Self::new(label, points) }
    }
}

/// One chart: values over the number of objects.
#[derive(Debug)]
pub(super) struct Panel {
    title: String,
    lines: Vec<Line>,
}

impl Panel {
    /// A chart with a title.
    pub fn new(title: &str, lines: Vec<Line>) -> Self {
        Self { title: title.to_owned(), lines }
    }
}

/// All panels on one page.
pub(super) fn draw(panels: &[Panel]) -> String {
    let rows = panels.len().div_ceil(COLUMNS);
    let (width, height) = (WIDTH * COLUMNS as f64, HEIGHT * rows as f64);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    for (index, panel) in panels.iter().enumerate() {
        let (x, y) = ((index % COLUMNS) as f64 * WIDTH, (index / COLUMNS) as f64 * HEIGHT);
        let _ = writeln!(svg, "<g transform=\"translate({x} {y})\">");
        panel.draw(&mut svg);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

/// Whole powers of ten around the values.
fn decades(values: impl Iterator<Item = f64>) -> (i32, i32) {
    let (low, high) = values
        .filter(|value| *value > 0.0)
        .map(f64::log10)
        .fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        return (0, 1);
    }
    let (low, high) = ((low + 1e-9).floor() as i32, (high - 1e-9).ceil() as i32);
    (low, high.max(low + 1))
}

impl Panel {
    fn draw(&self, svg: &mut String) {
        let (left, right, top, bottom) = MARGINS;
        let (plot_right, plot_bottom) = (WIDTH - right, HEIGHT - bottom);
        let points = || self.lines.iter().flat_map(|line| line.points.iter());
        let (x_low, x_high) = decades(points().map(|point| point.0));
        let (y_low, y_high) = decades(points().map(|point| point.1));
        let share = |value: f64, low: i32, high: i32| (value - f64::from(low)) / f64::from(high - low);
        let x_at = |exponent: f64| left + share(exponent, x_low, x_high) * (plot_right - left);
        let y_at = |exponent: f64| plot_bottom - share(exponent, y_low, y_high) * (plot_bottom - top);
        let _ = writeln!(svg, "<text x=\"{left}\" y=\"18\" font-weight=\"bold\">{}</text>", self.title);
        for exponent in y_low..=y_high {
            let y = y_at(f64::from(exponent));
            let _ = writeln!(
                svg,
                "<line x1=\"{left}\" y1=\"{y:.1}\" x2=\"{plot_right}\" y2=\"{y:.1}\" stroke=\"#dddddd\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 6.0,
                y + 4.0,
                plain(exponent)
            );
        }
        for exponent in x_low..=x_high {
            let x = x_at(f64::from(exponent));
            let _ = writeln!(
                svg,
                "<line x1=\"{x:.1}\" y1=\"{top}\" x2=\"{x:.1}\" y2=\"{plot_bottom}\" stroke=\"#eeeeee\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">1e{exponent}</text>",
                plot_bottom + 16.0
            );
        }
        let mut ends = Vec::new();
        for (index, line) in self.lines.iter().enumerate() {
            let Some(&(last_x, last_y)) = line.points.last() else { continue };
            let colour = if line.is_quoted { "#888888" } else { COLOURS[index % COLOURS.len()] };
            let dash = if line.is_quoted { " stroke-dasharray=\"5 4\"" } else { "" };
            let at: Vec<(f64, f64)> =
                line.points.iter().map(|(x, y)| (x_at(x.log10()), y_at(y.max(1e-6).log10()))).collect();
            let path: Vec<String> = at.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"{dash}/>",
                path.join(" ")
            );
            for (x, y) in &at {
                let _ = write!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.6\" fill=\"{colour}\"/>");
            }
            svg.push('\n');
            let place = (x_at(last_x.log10()), y_at(last_y.max(1e-6).log10()));
            ends.push((place, format!("{} ({})", line.label, short(last_y)), colour));
        }
        // From the top down, each label at least a line below the one before.
        ends.sort_by(|left, right| left.0.1.total_cmp(&right.0.1));
        let mut free = f64::MIN;
        for ((x, y), label, colour) in ends {
            let y = (y + 4.0).max(free);
            free = y + LABEL_GAP;
            let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{y:.1}\" fill=\"{colour}\">{label}</text>", x + 6.0);
        }
    }
}

fn plain(exponent: i32) -> String {
    if exponent >= 0 { format!("{:.0}", 10_f64.powi(exponent)) } else { format!("{}", 10_f64.powi(exponent)) }
}

fn short(value: f64) -> String {
    match value {
        _ if value >= 100.0 => format!("{value:.0}"),
        _ if value >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_hold_whole_decades() {
        assert_eq!(decades([0.9, 45.0].into_iter()), (-1, 2));
        assert_eq!(decades([1e5, 1e7].into_iter()), (5, 7));
        assert_eq!(decades([100.0].into_iter()), (2, 3));
        assert_eq!(decades(std::iter::empty()), (0, 1));
    }

    #[test]
    fn a_chart_shows_each_line_with_its_last_value() {
        let flat = Line::new("flat", vec![(1e5, 3.0), (1e6, 3.2)]);
        let svg = draw(&[Panel::new("commit, ms", vec![flat, Line::quoted("other", vec![(1e6, 1790.0)])])]);
        for part in ["commit, ms", "flat (3.2)", "other (1790)", "stroke-dasharray", ">1e5<", ">1000<"] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
        assert_eq!(svg.matches("<g ").count(), svg.matches("</g>").count());
    }
}
