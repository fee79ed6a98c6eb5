//! Draws pictures in SVG that can be read on light and on dark ground: bars side by side, and lines over a growing number.
//! Figures come from outside.

use std::fmt::Write;

const WIDTH: f64 = 860.0;
const ROW_HEIGHT: f64 = 30.0;
const HEAD_HEIGHT: f64 = 44.0;
const NAMES_WIDTH: f64 = 220.0;
const FIGURES_WIDTH: f64 = 130.0;
/// The height of lines, without head and foot.
const LINES_HEIGHT: f64 = 260.0;
const FOOT_HEIGHT: f64 = 30.0;
const LEFT_WIDTH: f64 = 60.0;

/// One bar.
pub(crate) struct Bar<'a> {
    pub(crate) name: &'a str,
    pub(crate) is_ours: bool,
    /// Of the whole width, 0 to 1.
    pub(crate) length: f64,
    pub(crate) figure: String,
}

/// Bars below each other.
pub(crate) fn bars(title: &str, note: &str, bars: &[Bar]) -> String {
    let mut svg = head(title, note, HEAD_HEIGHT + ROW_HEIGHT * bars.len() as f64 + 8.0);
    for (idx, bar) in bars.iter().enumerate() {
        let top = HEAD_HEIGHT + ROW_HEIGHT * idx as f64;
        let class = if bar.is_ours { "ours" } else { "theirs" };
        let bar_width = (WIDTH - NAMES_WIDTH - FIGURES_WIDTH) * bar.length;
        writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>\
             <rect class=\"{class}\" x=\"{NAMES_WIDTH}\" y=\"{:.0}\" width=\"{bar_width:.0}\" height=\"20\" rx=\"2\"/>\
             <text x=\"{:.0}\" y=\"{:.0}\">{}</text>",
            NAMES_WIDTH - 8.0,
            top + 16.0,
            fitted(bar.name),
            top + 1.0,
            NAMES_WIDTH + bar_width + 6.0,
            top + 16.0,
            bar.figure,
        )
        .expect("writing to a string does not fail");
    }
    svg + "</svg>\n"
}

/// One line: its points are `(number, value)`, numbers growing.
pub(crate) struct Line<'a> {
    pub(crate) name: &'a str,
    pub(crate) is_ours: bool,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Lines over numbers on a scale of powers of ten; values from 0 on.
pub(crate) fn lines(title: &str, note: &str, lines: &[Line]) -> String {
    let height = HEAD_HEIGHT + LINES_HEIGHT + FOOT_HEIGHT;
    let mut svg = head(title, note, height);
    let points = || lines.iter().flat_map(|line| &line.points);
    let greatest = points().map(|point| point.1).fold(f64::MIN_POSITIVE, f64::max);
    let [least_number, greatest_number] = [f64::min as fn(f64, f64) -> f64, f64::max]
        .map(|pick| points().map(|point| point.0).reduce(pick).unwrap_or(1.0));
    let span = (greatest_number / least_number).ln().max(f64::MIN_POSITIVE);
    let width = WIDTH - LEFT_WIDTH - NAMES_WIDTH;
    let x = |number: f64| LEFT_WIDTH + width * (number / least_number).ln() / span;
    let y = |value: f64| HEAD_HEIGHT + LINES_HEIGHT * (1.0 - value / greatest);
    for (value, name) in [(0.0, "0".to_owned()), (greatest, format!("{greatest:.1}"))] {
        writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{name}</text>",
            LEFT_WIDTH - 6.0,
            y(value) + 5.0
        )
        .expect("writing to a string does not fail");
    }
    let mut numbers: Vec<f64> = points().map(|point| point.0).collect();
    numbers.sort_unstable_by(f64::total_cmp);
    numbers.dedup();
    for number in numbers {
        writeln!(svg, "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{number}</text>", x(number), height - 6.0)
            .expect("writing to a string does not fail");
    }
    let ends = apart(lines.iter().map(|line| line.points.last().map_or(HEAD_HEIGHT, |point| y(point.1))).collect());
    for (line, end) in lines.iter().zip(ends) {
        let class = if line.is_ours { "ours line" } else { "theirs line" };
        let path: Vec<String> =
            line.points.iter().map(|&(number, value)| format!("{:.1},{:.1}", x(number), y(value))).collect();
        writeln!(
            svg,
            "<polyline class=\"{class}\" points=\"{}\"/><text x=\"{:.0}\" y=\"{:.0}\">{}</text>",
            path.join(" "),
            x(greatest_number) + 8.0,
            end + 5.0,
            fitted(line.name),
        )
        .expect("writing to a string does not fail");
    }
    svg + "</svg>\n"
}

/// The same heights, in the same order from top to bottom, with room for a line of text each.
fn apart(mut heights: Vec<f64>) -> Vec<f64> {
    const TEXT_HEIGHT: f64 = 16.0;
    let mut order: Vec<usize> = (0..heights.len()).collect();
    order.sort_unstable_by(|&one, &other| heights[other].total_cmp(&heights[one]));
    let mut lowest_free = f64::INFINITY;
    for idx in order {
        heights[idx] = heights[idx].min(lowest_free);
        lowest_free = heights[idx] - TEXT_HEIGHT;
    }
    heights
}

fn head(title: &str, note: &str, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"14\">\n\
         <title>{title}</title>\n\
         <style>text {{ fill: #24292f }} .ours {{ fill: #1a7f37; stroke: #1a7f37 }} .theirs {{ fill: #8c959f; stroke: #8c959f }} \
         .line {{ fill: none; stroke-width: 2 }} rect {{ stroke: none !important }} \
         @media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3 }} .ours {{ fill: #3fb950; stroke: #3fb950 }} \
         .theirs {{ fill: #6e7681; stroke: #6e7681 }} .line {{ fill: none }} }}</style>\n\
         <text x=\"0\" y=\"18\" font-size=\"16\">{title}</text>\n\
         <text x=\"0\" y=\"36\" font-size=\"12\">{note}</text>\n",
        title = escaped(title),
        note = escaped(note),
    )
}

/// A name that fits beside a bar; the table below has all of it.
fn fitted(name: &str) -> String {
    const MOST_LETTERS: usize = 28;
    let name = name.replace("brigade copy --", "brigade --").replace('\\', "");
    let short: String = name.chars().take(MOST_LETTERS).collect();
    escaped(&if short.len() < name.len() { short + "…" } else { short })
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_bar_for_each_and_a_title() {
        let bar = |length| Bar { name: "a & b", is_ours: true, length, figure: "1 s".to_owned() };
        let svg = bars("A < B", "note", &[bar(1.0), bar(0.5)]);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("<rect").count(), 2);
        assert!(svg.contains("A &lt; B") && svg.contains("a &amp; b"));
    }

    #[test]
    fn names_at_the_ends_of_lines_do_not_lie_on_each_other() {
        assert_eq!(apart(vec![100.0, 99.0, 20.0]), [100.0, 84.0, 20.0]);
        assert_eq!(apart(vec![99.0, 100.0]), [84.0, 100.0]);
    }

    #[test]
    fn a_line_rises_where_its_values_do() {
        let line = Line { name: "x", is_ours: false, points: vec![(10.0, 1.0), (100.0, 2.0)] };
        let svg = lines("t", "n", &[line]);
        let points = svg.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        let heights: Vec<f64> =
            points.split(' ').map(|point| point.split_once(',').unwrap().1.parse().unwrap()).collect();
        assert!(heights[1] < heights[0], "{points}");
    }
}
