//! Draws a measure as a picture: one bar a side, on a scale of powers of ten, shorter is faster. Figures come from outside.

use std::fmt::Write;
use std::time::Duration;

use super::measures::{Measure, Shown, Side};

const WIDTH: f64 = 860.0;
const ROW_HEIGHT: f64 = 30.0;
const HEAD_HEIGHT: f64 = 44.0;
const NAMES_WIDTH: f64 = 220.0;
const FIGURES_WIDTH: f64 = 130.0;

/// A picture in SVG, readable on light and dark ground.
pub(super) fn picture(measure: &Measure, medians: &[(&'static Side, Duration)]) -> String {
    let lengths = lengths(measure, medians);
    let height = HEAD_HEIGHT + ROW_HEIGHT * medians.len() as f64 + 8.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"14\">\n\
         <title>{title}</title>\n\
         <style>text {{ fill: #24292f }} .ours {{ fill: #1a7f37 }} .theirs {{ fill: #8c959f }} \
         @media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3 }} .ours {{ fill: #3fb950 }} .theirs {{ fill: #6e7681 }} }}</style>\n\
         <text x=\"0\" y=\"18\" font-size=\"16\">{title}</text>\n\
         <text x=\"0\" y=\"36\" font-size=\"12\">{unit}, {better}; bars on a scale of powers of ten</text>\n",
        title = escaped(measure.title),
        unit = measure.shown.unit(),
        better = if measure.shown == Shown::PerSecond { "longer is better" } else { "shorter is better" },
    );
    for (idx, ((side, median), length)) in medians.iter().zip(lengths).enumerate() {
        let top = HEAD_HEIGHT + ROW_HEIGHT * idx as f64;
        let class = if idx == 0 { "ours" } else { "theirs" };
        let bar_width = (WIDTH - NAMES_WIDTH - FIGURES_WIDTH) * length;
        writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>\
             <rect class=\"{class}\" x=\"{NAMES_WIDTH}\" y=\"{:.0}\" width=\"{bar_width:.0}\" height=\"20\" rx=\"2\"/>\
             <text x=\"{:.0}\" y=\"{:.0}\">{}</text>",
            NAMES_WIDTH - 8.0,
            top + 16.0,
            escaped(side.name),
            top + 1.0,
            NAMES_WIDTH + bar_width + 6.0,
            top + 16.0,
            measure.shown.figure(*median, side.count),
        )
        .expect("writing to a string does not fail");
    }
    svg + "</svg>\n"
}

/// Between a sliver and the whole width, by the logarithm of what is shown.
fn lengths(measure: &Measure, medians: &[(&'static Side, Duration)]) -> Vec<f64> {
    const SLIVER: f64 = 0.02;
    let logarithm = |&(side, median): &(&'static Side, Duration)| {
        let seconds = measure.shown.seconds_each(median, side.count).max(1e-10);
        if measure.shown == Shown::PerSecond { -seconds.log10() } else { seconds.log10() }
    };
    let values: Vec<f64> = medians.iter().map(logarithm).collect();
    let least = values.iter().copied().fold(f64::INFINITY, f64::min).floor();
    let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let span = (greatest - least).max(1.0);
    values.into_iter().map(|value| SLIVER + (1.0 - SLIVER) * (value - least) / span).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::super::measures::MEASURES;
    use super::*;

    #[test]
    fn a_faster_side_has_the_longer_bar_where_longer_is_better() {
        let measure = MEASURES.iter().find(|measure| measure.key == "queue").unwrap();
        let medians = [(&measure.sides[0], Duration::from_secs(1)), (&measure.sides[1], Duration::from_secs(1))];
        let [ours, theirs] = lengths(measure, &medians)[..] else { panic!("two bars") };
        assert!(ours > theirs);
        let svg = picture(measure, &medians);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && svg.matches("<rect").count() == 2);
    }
}
