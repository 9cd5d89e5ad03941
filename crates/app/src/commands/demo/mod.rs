//! `tradewind demo`: a simulated shop, and the main job on it; with `--serve`, the whole of it, live.

mod live;

use crate::Context;
use crate::args::{By, CalendarArgs, DemoArgs};
use crate::commands::{calendar, trends};
use crate::exit::Exit;
use crate::lang::Lang;
use crate::printer::Printer;
use chrono::{Days, Local};
use tradewind::demo::{self, DemoSettings, DemoShop};
use tradewind::trends::Matter;
use tradewind::{Result, TrendSettings};

/// Shown of those that rise and of those that fall.
const TOP: usize = 8;

pub(crate) fn run(context: &mut Context, args: &DemoArgs) -> Result<Exit> {
    let usual = DemoSettings::default();
    let settings = DemoSettings {
        n_products: args.products as usize,
        days: args.days as usize,
        end_date: match args.end_date {
            Some(date) => date,
            // Who comes now continues a history that ended yesterday.
            None if args.serve => Local::now().date_naive() - Days::new(1),
            None => usual.end_date,
        },
        ..usual
    };
    settings.check()?;
    if args.serve {
        return live::run(context, args, &settings);
    }
    let dir = context.global.shop.clone().unwrap_or_else(|| args.dir.clone());
    let (shop, made) = demo::make(&context.run, &dir, &settings)?;
    context.take_settings(&shop);
    let p = context.printer.clone();
    p.note(told_size(&p, &made, &settings));
    let calendar = calendar(context, &CalendarArgs { region: None, events: None }, Some(&shop))?;
    let matter = Matter::of_shop(&context.run, &shop, By::Product.into())?;
    let trend = &shop.settings().trend;
    let asked = TrendSettings {
        horizon: trend.horizon,
        threshold: trend.threshold,
        level: trend.level,
        ..TrendSettings::default()
    };
    let answer = matter.predict(&context.run, &asked, None, &calendar)?;
    trends::show(&p, &answer, By::Product, TOP, &answer.report.trends, answer.freq());
    let report = dir.join("report.html");
    trends::write_report(context, &answer, By::Product, TOP, p.lang.pick("Demo", "演示"), &report)?;
    let full = report.canonicalize().unwrap_or(report);
    p.line("");
    p.line(match p.lang {
        Lang::En => format!("The report: {}", full.display()),
        Lang::Zh => format!("报告：{}", full.display()),
    });
    Ok(Exit::Success)
}

/// How large the shop is.
fn told_size(p: &Printer, made: &DemoShop, settings: &DemoSettings) -> String {
    let (products, sales, events) = (made.products.num_rows(), made.sales.num_rows(), made.events.num_rows());
    let DemoSettings { days, end_date, .. } = settings;
    match p.lang {
        Lang::En => format!(
            "made a shop of {products} products: {sales} sales lines, {events} event rows, {days} days up to {end_date}"
        ),
        Lang::Zh => format!(
            "生成了 {products} 个商品的店铺：{sales} 条销售行，{events} 条事件，共 {days} 天，截至 {end_date}"
        ),
    }
}
