//! `tradewind forecast evaluate`: the backtest that ranks models.

use super::{coverage, models, panel};
use crate::Context;
use crate::args::ForecastEvaluateArgs;
use crate::commands::params;
use crate::exit::Exit;
use crate::lang::Lang;
use crate::printer::Tone;
use crate::report::backtest::BacktestPage;
use crate::speech;
use tradewind::forecast::backtest::{Backtest, LeaderboardRow};
use tradewind::{Result, forecasts, warehouse};

/// Intervals whose coverage the page shows, in percent.
const PAGE_LEVELS: [f64; 3] = [50.0, 80.0, 95.0];

pub(super) fn run(context: &mut Context, args: &ForecastEvaluateArgs) -> Result<Exit> {
    let panel = panel(context, &args.what)?;
    let params = params(&args.what.params)?;
    let percents: &[f64] = match (&args.level[..], &args.html) {
        ([], Some(_)) => &PAGE_LEVELS,
        (asked, _) => asked,
    };
    let coverages: Vec<f64> = percents.iter().map(|l| coverage(*l)).collect::<Result<_>>()?;
    let models = models(&args.what);
    let models: Vec<&str> = models.iter().map(String::as_str).collect();
    let settings = Backtest {
        horizon: args.what.horizon.into(),
        n_origins: args.origins.into(),
        gap: args.gap.into(),
        coverages,
        ..Backtest::default()
    };
    let result = forecasts::backtest(&context.run, &panel, &models, &params, &settings)?;
    let board = forecasts::leaderboard(&result);
    let p = &context.printer;
    if let Some(path) = &args.html {
        let page = BacktestPage { lang: p.lang, panel: &panel, result: &result };
        warehouse::files::write_bytes(path, page.html().as_bytes())?;
        p.note(format!("{} {}", p.lang.pick("wrote", "已写出"), path.display()));
    }
    p.json(&board);
    rows(context, p.lang.pick("all series", "全部序列"), &board.all);
    let mut from = 0;
    while let Some(first) = board.by_class.get(from) {
        let n = board.by_class[from..].iter().take_while(|r| r.group == first.group).count();
        rows(context, speech::demand(p.lang, &first.group), &board.by_class[from..from + n]);
        from += n;
    }
    if board.n_too_short > 0 {
        p.note(match p.lang {
            Lang::En => format!("{} series are too short to be scored", board.n_too_short),
            Lang::Zh => format!("{} 个序列过短，无法评估", board.n_too_short),
        });
    }
    Ok(Exit::Success)
}

fn rows(context: &Context, title: &str, board: &[LeaderboardRow]) {
    let p = &context.printer;
    // The widest interval that was measured, if any was.
    let widest = board.first().and_then(|r| r.scores.intervals.last());
    let held = widest.map_or_else(|| "80%".to_owned(), |i| format!("{:.0}%", i.nominal * 100.0));
    let header =
        ["", "MASE", "RMSSE", "WAPE", "sMAPE", "MAE", "RMSE", "bias", "±10%", "exact", "pinball", &held, "n"];
    let number = |v: f64| if v.is_finite() { format!("{v:.3}") } else { "–".to_owned() };
    let cells = |r: &LeaderboardRow| {
        let s = &r.scores;
        let cover = s.intervals.last().map_or(f64::NAN, |i| i.coverage);
        let mut cells = vec![r.model.clone()];
        cells.extend(
            [
                s.mase,
                s.rmsse,
                s.wape,
                s.smape,
                s.mae,
                s.rmse,
                s.bias,
                s.hit_rate,
                s.exact_rate,
                s.pinball,
                cover,
            ]
            .map(number),
        );
        cells.push(s.n_windows.to_string());
        cells
    };
    p.line(p.toned(Tone::Up, title));
    p.table(
        &header,
        &board.iter().map(cells).collect::<Vec<_>>(),
        &(1..header.len()).collect::<Vec<_>>(),
        |_| Tone::Plain,
    );
    p.line("");
}
