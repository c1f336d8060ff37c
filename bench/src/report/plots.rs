//! Three plots, as SVG.
//!
//! Each flood is a point on the x axis, in order and equally spaced; each contender has a row. Times are on logarithmic
//! axes.

use std::ops::Range;

use anyhow::{Result, anyhow};
use plotters::coord::combinators::LogCoord;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::archive::{Archive, Run};
use super::figures::{self, ACKS, ACKS_MANY, IDLE, floods, latency, packet, segment, short};
use crate::compare::Contender;

const SIZE: (u32, u32) = (900, 460);
const LATENCY_FLOOD: &str = "flood of 100000 SYN/s";

/// Names and contents of the plots that have figures.
///
/// # Errors
/// An error of plotters, which indicates a bug here.
pub(super) fn draw_plots(archive: &Archive) -> Result<Vec<(&'static str, String)>> {
    let mut plots = Vec::new();
    if let Some(run) = &archive.sweep {
        plots.push(("floods.svg", goodput_and_p99(run).map_err(refused)?));
        plots.push(("latency.svg", percentiles(run).map_err(refused)?));
    }
    if let Some(svg) = costs(archive).map_err(refused)? {
        plots.push(("cost.svg", svg));
    }
    Ok(plots)
}

fn refused<E: std::error::Error + Send + Sync>(error: DrawingAreaErrorKind<E>) -> anyhow::Error {
    anyhow!("drawing a plot failed: {error}")
}

type Drawn<'a, T> = Result<T, DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;
type Logarithmic<'a, 'b> =
    ChartContext<'a, SVGBackend<'b>, Cartesian2d<LogCoord<f64>, RangedCoordf64>>;

/// A contender's colour, the same in every plot; synward's are the strong ones.
fn colour(contender: Contender) -> RGBColor {
    match contender {
        Contender::Nobody => RGBColor(190, 190, 190),
        Contender::Kernel => RGBColor(120, 120, 120),
        Contender::KernelPass => RGBColor(160, 160, 120),
        Contender::Syncookies => RGBColor(140, 86, 75),
        Contender::Synproxy => RGBColor(255, 152, 0),
        Contender::SynproxyTs => RGBColor(200, 170, 0),
        Contender::XdpKernelCookie => RGBColor(123, 90, 200),
        Contender::XdpKernelCookieBlind => RGBColor(190, 160, 230),
        Contender::Bare => RGBColor(60, 60, 60),
        Contender::AfxdpEcho => RGBColor(150, 60, 60),
        Contender::SpliceXdp => RGBColor(0, 90, 200),
        Contender::SpliceAfxdp => RGBColor(0, 170, 210),
        Contender::SpliceInactive => RGBColor(120, 150, 200),
        Contender::Local => RGBColor(0, 140, 60),
    }
}

/// Contenders with a figure somewhere in the sweep.
fn contenders(run: &Run) -> Vec<Contender> {
    let has_turn = |contender: &Contender| {
        let mut cases = run.cases().into_iter();
        cases.any(|case| run.figure(case, *contender, &["succeeded"]).is_some())
    };
    Contender::all().into_iter().filter(has_turn).collect()
}

/// Range of a logarithmic axis that has all values.
fn logarithmic(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (least, greatest) = values
        .filter(|value| *value > 0.0)
        .fold((f64::INFINITY, 0.0), |(least, greatest), value| {
            (value.min(least), value.max(greatest))
        });
    match greatest {
        0.0 => 0.1..10.0,
        _ => least / 1.5..greatest * 2.0,
    }
}

/// The name at an integer position of an axis.
fn label_at(names: &[String], position: f64) -> String {
    let nearest = position.round();
    match (position - nearest).abs() < 0.01 && nearest >= 0.0 {
        true => names.get(nearest as usize).cloned().unwrap_or_default(),
        false => String::new(),
    }
}

/// Goodput above, p99 until answered below, against the flood, for every contender.
fn goodput_and_p99(run: &Run) -> Drawn<'_, String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (SIZE.0, 760)).into_drawing_area();
        root.fill(&WHITE)?;
        let (above, below) = root.split_vertically(360);
        let floods = floods(run);
        let names: Vec<_> = floods.iter().map(|case| short(case)).collect();
        let end = floods.len() as f64 - 0.5;
        let points = |contender, figure: &dyn Fn(&str, Contender) -> Option<f64>| {
            let of = |(x, case): (usize, &&str)| Some((x as f64, figure(case, contender)?));
            floods.iter().enumerate().filter_map(of).collect::<Vec<_>>()
        };
        let goodput =
            |case: &str, contender| Some(run.figure(case, contender, &["goodput"])?.median);
        let p99 =
            |case: &str, contender| Some(latency(run, case, contender, "answered", "p99")?.median);

        let all = contenders(run);
        let greatest = all
            .iter()
            .flat_map(|contender| points(*contender, &goodput))
            .fold(1.0, |greatest: f64, (_, y)| greatest.max(y));
        let mut chart = ChartBuilder::on(&above)
            .caption("Requests answered per second", ("sans-serif", 20))
            .margin(10)
            .margin_right(190)
            .x_label_area_size(24)
            .y_label_area_size(64)
            .build_cartesian_2d(-0.2..end, 0.0..greatest * 1.05)?;
        chart
            .configure_mesh()
            .label_style(("sans-serif", 15))
            .disable_x_mesh()
            .y_label_formatter(&|y| plain(*y))
            .x_labels(names.len() * 2 + 1)
            .x_label_formatter(&|x| label_at(&names, *x))
            .draw()?;
        for contender in &all {
            let line = points(*contender, &goodput);
            chart.draw_series(LineSeries::new(line, colour(*contender).stroke_width(2)))?;
        }
        let values = all.iter().flat_map(|contender| points(*contender, &p99));
        let mut chart = ChartBuilder::on(&below)
            .caption(
                "p99 until the first byte of the answer, ms, of successful requests",
                ("sans-serif", 20),
            )
            .margin(10)
            .margin_right(190)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(-0.2..end, logarithmic(values.map(|(_, y)| y)).log_scale())?;
        chart
            .configure_mesh()
            .label_style(("sans-serif", 15))
            .disable_x_mesh()
            .y_label_formatter(&|y| plain(*y))
            .x_desc("flood: SYNs sent per second into the same receive queue")
            .x_labels(names.len() * 2 + 1)
            .x_label_formatter(&|x| label_at(&names, *x))
            .draw()?;
        for contender in &all {
            let line = points(*contender, &p99);
            chart.draw_series(LineSeries::new(line, colour(*contender).stroke_width(2)))?;
        }
        legend(&root, all.iter().map(|one| (one.to_string(), colour(*one))))?;
        root.present()?;
    }
    Ok(svg)
}

/// A legend at the right of a plot.
fn legend<'b>(
    root: &DrawingArea<SVGBackend<'b>, plotters::coord::Shift>,
    names: impl Iterator<Item = (String, RGBColor)>,
) -> Drawn<'b, ()> {
    let left = SIZE.0 as i32 - 185;
    for (line, (name, colour)) in names.enumerate() {
        let y = 50 + 20 * line as i32;
        root.draw(&Rectangle::new(
            [(left, y), (left + 14, y + 10)],
            colour.filled(),
        ))?;
        root.draw(&Text::new(name, (left + 20, y - 1), ("sans-serif", 15)))?;
    }
    Ok(())
}

/// p50, p99 and p99.9 until answered, without a flood and under one, of every contender.
fn percentiles(run: &Run) -> Drawn<'_, String> {
    // The flood that the title names, or the smallest.
    let floods = floods(run);
    let flood = match floods.contains(&LATENCY_FLOOD) {
        true => Some(LATENCY_FLOOD),
        false => floods.iter().copied().find(|case| *case != IDLE),
    };
    let all = contenders(run);
    let names: Vec<_> = all.iter().map(ToString::to_string).collect();
    let cases = [
        (Some(IDLE), RGBColor(0, 140, 60), 0.14),
        (flood, RGBColor(200, 60, 40), -0.14),
    ];
    let of = |case, contender| {
        ["p50", "p99", "p99.9"]
            .map(|percentile| Some(latency(run, case, contender, "answered", percentile)?.median))
    };
    let values = cases
        .iter()
        .filter_map(|(case, ..)| *case)
        .flat_map(|case| all.iter().flat_map(move |contender| of(case, *contender)))
        .flatten();
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let caption = "Until the first byte of the answer, ms: p50, p99, p99.9";
        let mut chart = rows(&root, caption, &names, logarithmic(values))?;
        for (case, colour, offset) in &cases {
            let Some(case) = case else { continue };
            for (number, contender) in all.iter().enumerate() {
                let y = row(number, &names) + offset;
                let points: Vec<_> = of(case, *contender)
                    .into_iter()
                    .flatten()
                    .map(|x| (x, y))
                    .collect();
                chart.draw_series(LineSeries::new(points.clone(), colour.stroke_width(3)))?;
                let marks = points
                    .into_iter()
                    .map(|point| Circle::new(point, 4, colour.filled()));
                chart.draw_series(marks)?;
            }
        }
        let meaning = cases.iter().filter_map(|(case, colour, _)| {
            let name = match (*case)? {
                IDLE => "no flood".to_string(),
                case => format!("flood: {}", short(case)),
            };
            Some((name, *colour))
        });
        legend(&root, meaning)?;
        root.present()?;
    }
    Ok(svg)
}

/// Cost of an answer, a refusal and a forwarded packet. `None` if none was measured.
fn costs(archive: &Archive) -> Drawn<'_, Option<String>> {
    type Cost<'a> = (
        &'static str,
        RGBColor,
        Box<dyn Fn(Contender) -> Option<f64> + 'a>,
    );
    let kinds: [Cost<'_>; 4] = [
        (
            "answered SYN",
            RGBColor(0, 90, 200),
            Box::new(|one| Some(figures::answered(archive, one)?.median)),
        ),
        (
            "bad ACK",
            RGBColor(255, 152, 0),
            Box::new(|one| Some(segment(archive, one, ACKS)?.median)),
        ),
        (
            "bad ACK, 1 M connections",
            RGBColor(200, 60, 40),
            Box::new(|one| Some(segment(archive, one, ACKS_MANY)?.median)),
        ),
        (
            "forwarded packet",
            RGBColor(0, 140, 60),
            Box::new(|one| Some(packet(archive, one)?.median)),
        ),
    ];
    let all: Vec<_> = Contender::all()
        .into_iter()
        // Its cost is only the noise of subtracting the generator's.
        .filter(|contender| *contender != Contender::Nobody)
        .filter(|contender| kinds.iter().any(|(.., cost)| cost(*contender).is_some()))
        .collect();
    if all.is_empty() {
        return Ok(None);
    }
    let names: Vec<_> = all.iter().map(ToString::to_string).collect();
    let values = all
        .iter()
        .flat_map(|contender| kinds.iter().filter_map(|(.., cost)| cost(*contender)));
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let range = logarithmic(values);
        let floor = range.start;
        let mut chart = rows(&root, "CPU time of a packet, ns", &names, range)?;
        for (kind, (_, colour, cost)) in kinds.iter().enumerate() {
            let bars = all.iter().enumerate().filter_map(|(number, contender)| {
                let top = row(number, &names) + 0.4 - 0.2 * kind as f64;
                let end = cost(*contender)?.max(floor);
                Some(Rectangle::new(
                    [(floor, top), (end, top - 0.18)],
                    colour.filled(),
                ))
            });
            chart.draw_series(bars)?;
        }
        legend(
            &root,
            kinds
                .iter()
                .map(|(name, colour, _)| (name.to_string(), *colour)),
        )?;
        root.present()?;
    }
    Ok(Some(svg))
}

/// A chart with a row for each name, the first on top.
fn rows<'a, 'b>(
    root: &'a DrawingArea<SVGBackend<'b>, plotters::coord::Shift>,
    caption: &str,
    names: &[String],
    x: Range<f64>,
) -> Drawn<'b, Logarithmic<'a, 'b>> {
    let mut upwards = names.to_vec();
    upwards.reverse();
    let mut chart = ChartBuilder::on(root)
        .caption(caption, ("sans-serif", 20))
        .margin(10)
        .margin_right(190)
        .x_label_area_size(30)
        .y_label_area_size(180)
        .build_cartesian_2d(x.log_scale(), -0.5..names.len() as f64 - 0.5)?;
    chart
        .configure_mesh()
        .label_style(("sans-serif", 15))
        .disable_y_mesh()
        .x_labels(6)
        .x_label_formatter(&|x| plain(*x))
        .y_labels(names.len() * 2 + 1)
        .y_label_formatter(&|y| label_at(&upwards, *y))
        .draw()?;
    Ok(chart)
}

/// The y position of a row, by its number from the top.
fn row(number: usize, names: &[String]) -> f64 {
    (names.len() - 1 - number) as f64
}

/// A number on a logarithmic axis.
fn plain(figure: f64) -> String {
    match figure > 0.0 && figure < 1.0 {
        true => format!("{figure:.2}"),
        false => format!("{figure:.0}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
