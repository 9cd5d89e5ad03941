//! `tradewind recommend`: what to show to whom.

use super::{params, told_training};
use crate::Context;
use crate::args::recommend::{
    AnswerArgs, EventsArgs, HeldBack, RecommendAction, RecommendArgs, RecommendBatchArgs,
    RecommendEvaluateArgs, RecommendExplainArgs, RecommendFitArgs, RecommendForArgs, RecommendSimilarArgs,
    RecommendTuneArgs, Surface as SurfaceArg,
};
use crate::exit::Exit;
use crate::lang::Lang;
use crate::printer::{Printer, Tone};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tradewind::core::{EventSettings, Interactions, Params, Past};
use tradewind::learning::TrialFile;
use tradewind::recommend::serve::{
    Answer, Boost, Engine, Filters, Items, Language, Mix, Request, Rerank, Step, Surface,
};
use tradewind::recommend::tune::Tuning;
use tradewind::recommending::{
    self, FitRequest, Model, describe, evaluate_models, read_interactions, read_items, read_users,
    shop_interactions, shop_items,
};
use tradewind::{Error, Result, Shop, warehouse};

/// Where a shop keeps its recommender.
const IN_SHOP: &str = "models/recommend";
/// Where a recommender fitted on a file goes.
const BESIDE: &str = "recommender";
const SECONDS_OF_A_DAY: f64 = 86_400.0;

pub(crate) fn run(context: &mut Context, args: &RecommendArgs) -> Result<Exit> {
    match &args.action {
        None => batch(context, &args.batch),
        Some(RecommendAction::Fit(args)) => fit(context, args),
        Some(RecommendAction::For(args)) => answer_for(context, args),
        Some(RecommendAction::Similar(args)) => similar(context, args),
        Some(RecommendAction::Evaluate(args)) => evaluate(context, args),
        Some(RecommendAction::Tune(args)) => tune(context, args),
        Some(RecommendAction::Explain(args)) => explain(context, args),
    }
}

/// Events with what they count.
fn events(
    context: &mut Context,
    args: &EventsArgs,
    items: Option<&Path>,
) -> Result<(Interactions, EventSettings)> {
    let (mut settings, shop) = match &args.input {
        Some(_) => (EventSettings::default(), None),
        None => {
            let shop = context.open_shop()?;
            (recommending::event_settings(&shop.settings().recommend), Some(shop))
        }
    };
    for pair in &args.event_weight {
        let weight =
            pair.split_once('=').and_then(|(kind, w)| Some((kind.trim(), w.trim().parse::<f64>().ok()?)));
        let Some((kind, weight)) = weight else {
            return Err(Error::asked(format!("`{pair}` is no weight"), "write it as KIND=WEIGHT, as cart=3"));
        };
        settings.event_weights.insert(kind.to_owned(), weight);
    }
    if let Some(age) = args.half_life {
        settings.half_life = if shop.is_some() { age * SECONDS_OF_A_DAY } else { age };
    }
    settings.drop_duplicates = !args.keep_duplicates;
    let data = match (&args.input, &shop) {
        (Some(path), _) => {
            let data = read_interactions(&context.run, path, &settings)?;
            match items {
                Some(path) => describe(&read_items(&context.run, path)?, data)?,
                None => data,
            }
        }
        (None, Some(shop)) => describe(&shop_items(shop)?, shop_interactions(shop, &settings)?)?,
        (None, None) => return Err(Error::asked("no file is named", "give --input FILE, or name a shop")),
    };
    Ok((data, settings))
}

fn batch(context: &mut Context, args: &RecommendBatchArgs) -> Result<Exit> {
    if let Some(path) = &args.output {
        warehouse::files::check_ending(path)?;
    }
    let (data, settings) = events(context, &args.events, args.items.as_deref())?;
    let users = match &args.users {
        Some(path) => read_users(&context.run, path)?,
        None => data.users().iter().map(str::to_owned).collect(),
    };
    let request = FitRequest {
        model: args.recommender.model.clone(),
        params: params(&args.recommender.params)?,
        settings,
    };
    let model = recommending::fit(&context.run, &data, &request)?;
    told(&context.printer, &model);
    let lists = model.lists(&context.run, &users, args.k.into(), args.allow_seen)?;
    let p = &context.printer;
    let rows: usize = lists.iter().map(|b| b.num_rows()).sum();
    match &args.output {
        Some(path) => {
            warehouse::files::write_table_of(path, recommending::list_schema(), &lists)?;
            p.json(
                &json!({ "manifest": model.manifest, "users": users.len(), "rows": rows, "output": path }),
            );
            note_written(p, path);
        }
        None => {
            let (p_rows, mut lines) = (recommending::list_rows(&lists), Vec::new());
            for (user, item, score) in p_rows {
                lines.push(json!({ "user": user, "item": item, "score": score }));
                p.line(format!("{user}\t{item}\t{score}"));
            }
            p.json(&lines);
        }
    }
    Ok(Exit::Success)
}

fn fit(context: &mut Context, args: &RecommendFitArgs) -> Result<Exit> {
    let output = match (&args.output, &args.events.input) {
        (Some(dir), _) => dir.clone(),
        (None, Some(_)) => PathBuf::from(BESIDE),
        (None, None) => context.shop_dir()?.join(IN_SHOP),
    };
    let (data, settings) = events(context, &args.events, args.items.as_deref())?;
    let request = FitRequest {
        model: args.recommender.model.clone(),
        params: params(&args.recommender.params)?,
        settings,
    };
    let model = recommending::fit(&context.run, &data, &request)?;
    model.write(&output)?;
    let p = &context.printer;
    let curves = model.fitted.training_curves();
    p.json(&json!({ "model": output, "manifest": model.manifest, "training": curves }));
    told(p, &model);
    note_written(p, &output);
    p.note(match p.lang {
        Lang::En => "next: tradewind recommend for USER",
        Lang::Zh => "下一步：tradewind recommend for 用户",
    });
    told_training(p, &args.recommender.model, &curves, args.curves.as_deref())?;
    Ok(Exit::Success)
}

fn told(p: &Printer, model: &Model) {
    let m = &model.manifest;
    p.note(match p.lang {
        Lang::En => format!(
            "{} fitted on {} events of {} users and {} items in {:.2} s",
            m.model, m.events, m.users, m.items, m.fit_seconds
        ),
        Lang::Zh => format!(
            "{} 已用 {} 条事件（{} 位用户、{} 件商品）训练，耗时 {:.2} 秒",
            m.model, m.events, m.users, m.items, m.fit_seconds
        ),
    });
    let l = m.left_out;
    if l.duplicates + l.without_weight + l.robots + l.rare > 0 {
        p.note(match p.lang {
            Lang::En => format!(
                "left out: {} duplicates, {} without weight, {} of robots, {} of rare users or items",
                l.duplicates, l.without_weight, l.robots, l.rare
            ),
            Lang::Zh => format!(
                "未计入：重复 {}，无权重 {}，机器人 {}，过少的用户或商品 {}",
                l.duplicates, l.without_weight, l.robots, l.rare
            ),
        });
    }
}

fn note_written(p: &Printer, path: &Path) {
    p.note(format!("{} {}", p.lang.pick("wrote", "已写出"), path.display()));
}

/// The model with what is known of its items.
fn engine(context: &mut Context, model: Option<&Path>, items: Option<&Path>) -> Result<(Engine, i64)> {
    let shop: Option<Shop> = match (model, items) {
        (Some(_), Some(_)) => None,
        // Without a shop the list has no titles, which is no reason to refuse it.
        (Some(_), None) => context.open_shop().ok(),
        (None, _) => Some(context.open_shop()?),
    };
    let dir = match (model, &shop) {
        (Some(dir), _) => dir.to_owned(),
        (None, Some(shop)) => shop.root().join(IN_SHOP),
        (None, None) => PathBuf::from(BESIDE),
    };
    let model = Model::open(&dir)?;
    let table = match (items, &shop) {
        (Some(path), _) => read_items(&context.run, path)?,
        (None, Some(shop)) => shop_items(shop)?,
        (None, None) => Items::new(),
    };
    let until = model.manifest.until.unwrap_or(0);
    let engine = model.engine(table)?;
    let newer = match &shop {
        Some(shop) => recommending::follow(&engine, shop, until)?,
        None => None,
    };
    if let Some((n, _)) = newer {
        context.printer.note(match context.printer.lang {
            Lang::En => format!("{n} events came since the model was fitted; the answer knows them"),
            Lang::Zh => format!("模型训练之后又有 {n} 条事件，答案已计入"),
        });
    }
    let now = newer.map_or(until, |(_, last)| last);
    Ok((engine, now))
}

/// Rules with their factors, as typed.
fn boosts(texts: &[String]) -> Result<Vec<Boost<'_>>> {
    texts
        .iter()
        .map(|text| {
            let parts = text
                .rsplit_once('=')
                .and_then(|(rule, f)| Some((rule.trim(), f.trim().parse::<f32>().ok()?)));
            let (rule, factor) = parts.ok_or_else(|| {
                Error::asked(
                    format!("`{text}` is no boost"),
                    "write it as RULE=FACTOR, as 'margin > 0.4=1.5'",
                )
            })?;
            Ok(Boost { rule, factor })
        })
        .collect()
}

/// Asks the engine and shows what it answers.
fn ask(context: &mut Context, request: &Request<'_>, args: &AnswerArgs) -> Result<Exit> {
    let (engine, now) = engine(context, args.model.as_deref(), args.items.as_deref())?;
    let categories: Vec<&str> = args.category.iter().map(String::as_str).collect();
    let boosts = boosts(&args.boost)?;
    if !(0.0..=1.0).contains(&args.diversity) {
        return Err(Error::asked(format!("a diversity of {} is none", args.diversity), "give 0 to 1"));
    }
    let request = Request {
        n: args.n.into(),
        now,
        filters: Filters {
            in_stock: !args.out_of_stock,
            allow_seen: args.allow_seen.then_some(true),
            categories: &categories,
            price_min: args.price_min,
            price_max: args.price_max,
            rule: args.rule.as_deref(),
            ..request.filters
        },
        rerank: Rerank {
            mix: if args.diversity > 0.0 { Mix::Mmr(1.0 - args.diversity) } else { Mix::Relevance },
            boosts: &boosts,
            category_max: args.category_max.into(),
            ..Rerank::default()
        },
        ..*request
    };
    let answer = engine.answer(&request)?;
    show(&context.printer, &engine, &request, &answer);
    Ok(Exit::Success)
}

fn step(lang: Lang, step: Step) -> &'static str {
    match step {
        Step::Model => lang.pick("the model", "模型"),
        Step::Session => lang.pick("what is chosen together", "共同选择"),
        Step::TrendingInCategory => lang.pick("what rises", "正在升温"),
        Step::Popular => lang.pick("what is popular", "热门"),
        Step::Newest => lang.pick("what is new", "新品"),
        Step::Anything => lang.pick("what there is", "在售商品"),
        Step::Given => lang.pick("what was given", "所给商品"),
    }
}

fn show(p: &Printer, engine: &Engine, request: &Request<'_>, answer: &Answer) {
    let language = if p.lang == Lang::Zh { Language::Zh } else { Language::En };
    let title = |id: &str| engine.item(id).and_then(|i| i.title);
    let items: Vec<_> = answer
        .items
        .iter()
        .map(|shown| {
            let reason = shown.reason.as_ref().map(|r| {
                json!({ "kind": r.name(), "item": r.item(), "category": r.category(), "text": engine.reason_text(r, language) })
            });
            json!({
                "item": shown.item, "title": title(&shown.item), "score": shown.score, "step": shown.step.name(),
                "reason": reason,
            })
        })
        .collect();
    p.json(&json!({
        "surface": request.surface.name(), "model": engine.model().name(), "items": items,
        "answered_by": answer.answered_by.map(Step::name),
    }));
    let Some(first) = answer.answered_by else {
        p.line(p.lang.pick("nothing is left that may be shown", "没有可展示的商品"));
        return;
    };
    let strange = request.user.is_some_and(|u| engine.model().known().users().find(u).is_none());
    if strange && first != Step::Model {
        p.note(p.lang.pick("the user is not known to the model", "模型不认识该用户"));
    }
    let header = [
        "",
        p.lang.pick("item", "商品"),
        p.lang.pick("title", "标题"),
        p.lang.pick("from", "来源"),
        p.lang.pick("why", "理由"),
    ];
    let rows: Vec<Vec<String>> = answer
        .items
        .iter()
        .enumerate()
        .map(|(i, shown)| {
            vec![
                (i + 1).to_string(),
                shown.item.clone(),
                title(&shown.item).unwrap_or_default(),
                step(p.lang, shown.step).to_owned(),
                shown.reason.as_ref().map_or_else(String::new, |r| engine.reason_text(r, language)),
            ]
        })
        .collect();
    p.table(&header, &rows, &[0], |_| Tone::Plain);
}

fn answer_for(context: &mut Context, args: &RecommendForArgs) -> Result<Exit> {
    let surface = match args.surface {
        SurfaceArg::ForYou => Surface::ForYou,
        SurfaceArg::NextInSession => Surface::NextInSession,
        SurfaceArg::Trending => Surface::Trending,
        SurfaceArg::CartAddOns => Surface::CartAddOns,
        SurfaceArg::RankThese => Surface::RankThese,
        SurfaceArg::SearchRerank => Surface::SearchRerank,
    };
    let at_hand: Vec<&str> = args.at_hand.iter().map(String::as_str).collect();
    let request = Request { user: args.user.as_deref(), items: &at_hand, ..Request::new(surface, 0) };
    ask(context, &request, &args.answer)
}

fn similar(context: &mut Context, args: &RecommendSimilarArgs) -> Result<Exit> {
    let surface = if args.bought_together { Surface::BoughtTogether } else { Surface::Similar };
    let items: Vec<&str> = args.item.iter().map(String::as_str).collect();
    ask(context, &Request { items: &items, ..Request::new(surface, 0) }, &args.answer)
}

/// `ials:factors=32,alpha=5` as a name and parameters.
fn named(text: &str) -> Result<(String, Params)> {
    let (name, rest) = text.split_once(':').unwrap_or((text, ""));
    let pairs: Vec<String> = rest.split(',').filter(|p| !p.is_empty()).map(str::to_owned).collect();
    Ok((name.to_owned(), params(&pairs)?))
}

/// What is held back, in the units of the events.
fn held_back(kind: HeldBack, length: i64, events: &EventsArgs) -> recommending::HeldBack {
    let unit = if events.input.is_some() { 1 } else { SECONDS_OF_A_DAY as i64 };
    match kind {
        HeldBack::Last => recommending::HeldBack::Last,
        HeldBack::Random => recommending::HeldBack::Random(0.1),
        HeldBack::Time => recommending::HeldBack::Time(length.saturating_mul(unit)),
    }
}

fn tune(context: &mut Context, args: &RecommendTuneArgs) -> Result<Exit> {
    let entry = tradewind::recommend::entry(&args.recommender.model)?;
    let space = match &args.space {
        Some(text) => text.parse()?,
        None => tradewind::recommend::tune::space_of(entry)?,
    };
    let fixed = params(&args.recommender.params)?;
    let (data, _) = events(context, &args.events, args.items.as_deref())?;
    let mut tuning = Tuning::new(space);
    tuning.search.n_trials = args.trials.into();
    tuning.hold_back = held_back(args.held_back, args.length, &args.events).for_search(&data);
    (tuning.fixed, tuning.k, tuning.allow_seen) = (fixed, args.k.into(), args.allow_seen);
    let store = TrialFile::open(&args.study)?;
    let cancelled = context.run.cancel_flag();
    let stop = || cancelled.load(std::sync::atomic::Ordering::Relaxed);
    let tuned = tradewind::recommend::tune::tune(&context.run, entry, &data, &tuning, &store, &stop)?;
    let p = &context.printer;
    p.json(&json!({ "model": entry.name, "tuned": tuned, "study": args.study }));
    let params: Vec<String> = tuned.params.iter().map(|(name, value)| format!("-p {name}={value}")).collect();
    let of_defaults = tuned.ndcg_of_defaults.map_or_else(|| "–".to_owned(), |v| format!("{v:.4}"));
    p.line(match p.lang {
        Lang::En => format!(
            "NDCG {:.4} on events held back ({of_defaults} with the defaults), {} trials: {}",
            tuned.ndcg,
            tuned.n_complete,
            params.join(" ")
        ),
        Lang::Zh => format!(
            "留出事件上的 NDCG 为 {:.4}（默认参数 {of_defaults}），{} 次试验：{}",
            tuned.ndcg,
            tuned.n_complete,
            params.join(" ")
        ),
    });
    p.note(p.lang.pick(
        "what is best on a part held back is told too well by it; measure the choice on newer events",
        "留出部分上的最优值偏乐观，请在更新的事件上再衡量",
    ));
    Ok(Exit::Success)
}

fn evaluate(context: &mut Context, args: &RecommendEvaluateArgs) -> Result<Exit> {
    let models: Vec<(String, Params)> = args.models.iter().map(|m| named(m)).collect::<Result<_>>()?;
    let (data, _) = events(context, &args.events, args.items.as_deref())?;
    let split = held_back(args.held_back, args.length, &args.events).split(&context.run, &data)?;
    let lengths: Vec<usize> = args.k.iter().map(|k| usize::from(*k)).collect();
    let scored = evaluate_models(&context.run, &split, &models, &lengths, args.allow_seen)?;
    let p = &context.printer;
    let told: Vec<_> = scored
        .iter()
        .map(|s| {
            json!({
                "model": s.model, "params": s.params, "evaluation": s.evaluation, "behind": s.behind, "fit_seconds": s.fit_seconds,
                "answer_seconds": s.answer_seconds,
            })
        })
        .collect();
    p.json(&json!({ "users": split.held.len(), "events": split.train.len(), "models": told }));
    p.note(match p.lang {
        Lang::En => format!(
            "{} users asked for what was held back; ± is half an interval of 95 %, p that of a paired t test against the best",
            split.held.len()
        ),
        Lang::Zh => format!("对 {} 位用户预测被留出的事件；± 为 95% 区间的一半，p 为与最好者的配对 t 检验", split.held.len()),
    });
    let header = [
        p.lang.pick("model", "模型"),
        "k",
        "NDCG",
        "±",
        p.lang.pick("behind (p)", "落后 (p)"),
        p.lang.pick("recall", "召回率"),
        p.lang.pick("precision", "精确率"),
        p.lang.pick("hits", "命中率"),
        "MRR",
        "MAP",
        p.lang.pick("coverage", "覆盖率"),
        p.lang.pick("novelty (bits)", "新颖度（比特）"),
        p.lang.pick("fit s", "训练秒"),
    ];
    let mut rows = Vec::new();
    for s in &scored {
        for (k, at) in s.evaluation.at.iter().enumerate() {
            // Users are compared at the first length.
            let behind = s.behind.filter(|_| k == 0);
            let behind =
                behind.map_or_else(String::new, |b| format!("{:.4} ({:.3})", b.difference, b.p_value));
            rows.push(vec![
                s.model.clone(),
                at.k.to_string(),
                format!("{:.4}", at.ndcg.mean),
                format!("{:.4}", at.ndcg.half_width),
                behind,
                format!("{:.4}", at.recall.mean),
                format!("{:.4}", at.precision.mean),
                format!("{:.4}", at.hit_rate.mean),
                format!("{:.4}", at.mrr.mean),
                format!("{:.4}", at.map.mean),
                format!("{:.3}", at.coverage),
                format!("{:.2}", at.novelty_bits),
                format!("{:.2}", s.fit_seconds),
            ]);
        }
    }
    p.table(&header, &rows, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], |i| {
        if i == 0 { Tone::Up } else { Tone::Plain }
    });
    Ok(Exit::Success)
}

/// What a user did with an item, and how much it speaks for another.
struct Cause<'a> {
    item: &'a str,
    event: &'a str,
    n: usize,
    contribution: f32,
}

fn explain(context: &mut Context, args: &RecommendExplainArgs) -> Result<Exit> {
    let (engine, _) = engine(context, args.model.as_deref(), args.items.as_deref())?;
    let model = engine.model();
    let known = model.known();
    let unknown = |what: &str, name: &str| {
        Error::asked(
            format!("the model knows no {what} `{name}`"),
            "see that the name is right, or fit the model on newer events",
        )
    };
    let user = known.users().find(&args.user).ok_or_else(|| unknown("user", &args.user))?;
    let item = known.items().find(&args.item).ok_or_else(|| unknown("item", &args.item))?;
    let history = known.history(user);
    let parts = model.contributions(&Past { user: Some(user), history }, &[item])?;
    if parts.is_empty() && !history.is_empty() {
        return Err(Error::asked(
            format!("{} cannot tell which events speak for an item", model.name()),
            "fit another recommender, as item_knn, ease or hybrid",
        ));
    }
    // What was done with an item several times is one cause.
    let mut sums: BTreeMap<(u32, u8), (f32, usize)> = BTreeMap::new();
    for (k, part) in parts.iter().enumerate() {
        let sum = sums.entry((history.items[k], history.events[k])).or_default();
        *sum = (sum.0 + part, sum.1 + 1);
    }
    let p = &context.printer;
    let title = |id: &str| engine.item(id).and_then(|i| i.title).unwrap_or_default();
    let mut causes: Vec<Cause<'_>> = sums
        .into_iter()
        .filter(|(_, (contribution, _))| *contribution != 0.0)
        .map(|((item, event), (contribution, n))| Cause {
            item: known.items().name(item),
            event: known.events().get(usize::from(event)).map_or("", String::as_str),
            n,
            contribution,
        })
        .collect();
    causes.sort_by(|a, b| b.contribution.total_cmp(&a.contribution));
    let told: Vec<_> = causes
        .iter()
        .map(|c| {
            json!({ "item": c.item, "title": title(c.item), "event": c.event, "n": c.n, "contribution": c.contribution })
        })
        .collect();
    p.json(&json!({ "user": args.user, "item": args.item, "model": model.name(), "because_of": told }));
    if causes.is_empty() {
        p.line(p.lang.pick("no event of the user speaks for this item", "该用户没有任何事件指向该商品"));
        return Ok(Exit::Success);
    }
    let header = [
        p.lang.pick("event", "事件"),
        p.lang.pick("times", "次数"),
        p.lang.pick("item", "商品"),
        p.lang.pick("title", "标题"),
        p.lang.pick("speaks for it", "贡献"),
    ];
    let rows: Vec<Vec<String>> = causes
        .iter()
        .map(|c| {
            let contribution = format!("{:+.4}", c.contribution);
            vec![c.event.to_owned(), c.n.to_string(), c.item.to_owned(), title(c.item), contribution]
        })
        .collect();
    p.table(&header, &rows, &[1, 4], |_| Tone::Plain);
    Ok(Exit::Success)
}
