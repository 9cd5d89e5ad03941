//! `tradewind demo --serve`: the simulated shop, served, with people in it.
//!
//! ```text
//! the shop as it was four weeks ago ─→ first models ─→ four weeks of rows arrive ─→ a look at what the models had told
//!    ─→ an experiment, and visitors until the end
//!    └→ meanwhile: challengers ─→ what is better is promoted
//! ```
//!
//! All of it goes through the server's own routes, as a shop's programs would.

use crate::Context;
use crate::args::DemoArgs;
use crate::commands::keys;
use crate::exit::Exit;
use crate::lang::Lang;
use crate::printer::Printer;
use crate::serve::{self, Listening, Process};
use reqwest::blocking::{Client, RequestBuilder};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tracing::level_filters::LevelFilter;
use tradewind::demo::{self, Act, Arrivals, DemoSettings, Visit, Visitors};
use tradewind::ops::access::{Access, NewKey, Role, Scopes};
use tradewind::{Error, Result, Run, Shop, operations};

/// Days that the first models do not know.
const DAYS_BEHIND: usize = 28;
/// Steps of jobs at once.
const STEPS_AT_ONCE: usize = 2;
/// The experiment that visitors are in.
const EXPERIMENT: &str = "first_page";
/// Items that a visitor is shown on the first page.
const SHOWN: usize = 6;

pub(super) fn run(context: &mut Context, args: &DemoArgs, settings: &DemoSettings) -> Result<Exit> {
    let begun = Instant::now();
    let dir = context.global.shop.clone().unwrap_or_else(|| args.dir.clone());
    let (shop, made, arrivals) = demo::make_behind(&context.run, &dir, settings, DAYS_BEHIND)?;
    context.take_settings(&shop);
    let p = context.printer.clone();
    p.note(super::told_size(&p, &made, settings));
    let key = keys::block_on(async {
        let access = Access::open(operations::open_state(&shop).await?).await?;
        let new =
            NewKey { name: "demo".to_owned(), role: Role::Admin, scopes: Scopes::All, expires_ms: None };
        let (_, secret) = access.create_key(&keys::actor(), new).await?;
        access.database().close().await;
        Ok(secret.expose().to_owned())
    })?;
    let mut serving = shop.settings().serve.clone();
    if let Some(listen) = &args.listen {
        serving.listen.clone_from(listen);
    }
    // Made and dropped outside the server's runtime, which it would block.
    let http = Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(60))
        .build()
        .map_err(|e| Error::asked(format!("no requests can be made: {e}"), "try again"))?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut conductor = None;
    // Each request of each visitor would hide what is told here.
    let process = Process {
        threads: context.run.threads,
        device: context.run.device,
        steps_at_once: STEPS_AT_ONCE,
        log: LevelFilter::WARN,
    };
    let served = serve::run(&shop, serving, process, |told: &Listening| {
        let url = format!("http://{}", told.address);
        if p.json {
            p.raw(&format!("{}\n", json!({ "listening": told.address, "url": url, "key": key })));
        }
        p.line(match p.lang {
            Lang::En => format!("the dashboard, signed in: {url}/#key={key}"),
            Lang::Zh => format!("看板（已登录）：{url}/#key={key}"),
        });
        let stage = Stage {
            api: Api { http: http.clone(), url, key: key.clone() },
            shop: shop.clone(),
            run: context.run.clone(),
            printer: p.clone(),
            stop: stop.clone(),
            begun,
            per_minute: f64::from(args.visitors),
        };
        conductor = Some(thread::spawn(move || stage.play(&arrivals)));
        Ok(())
    });
    stop.store(true, Ordering::Relaxed);
    if let Some(conductor) = conductor {
        let _ = conductor.join();
    }
    served?;
    Ok(Exit::Success)
}

/// Requests to the server of this process.
struct Api {
    http: Client,
    url: String,
    key: String,
}

impl Api {
    fn get(&self, path: &str) -> Result<Value> {
        self.answer(self.http.get(format!("{}{path}", self.url)), path)
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let request = self.http.post(format!("{}{path}", self.url));
        self.answer(request.header("content-type", "application/json").body(body.to_string()), path)
    }

    fn answer(&self, request: RequestBuilder, path: &str) -> Result<Value> {
        let odd = |what: String| Error::asked(format!("{path}: {what}"), "see the log of the server");
        // Addresses of this machine may stand in the message, the key does not.
        let answer = request.bearer_auth(&self.key).send().map_err(|e| odd(e.to_string()))?;
        let status = answer.status();
        let text = answer.text().map_err(|e| odd(e.to_string()))?;
        if !status.is_success() {
            return Err(odd(format!("{status} {text}")));
        }
        serde_json::from_str(&text).map_err(|e| odd(e.to_string()))
    }
}

/// What happens in the shop while it is served.
struct Stage {
    api: Api,
    shop: Shop,
    run: Run,
    printer: Printer,
    stop: Arc<AtomicBool>,
    begun: Instant,
    per_minute: f64,
}

impl Stage {
    fn play(&self, arrivals: &Arrivals) {
        match self.prepare(arrivals) {
            Ok(looked) => thread::scope(|scope| {
                scope.spawn(|| self.told(self.renew(&looked)));
                self.told(self.receive());
            }),
            odd => self.told(odd.map(|_| ())),
        }
    }

    /// Says what went wrong, if anything did.
    fn told(&self, done: Result<()>) {
        match done {
            // At the end the server takes no requests any longer.
            Err(e) if !self.is_over() => self
                .printer
                .error(&e.to_string(), Some(self.printer.lang.pick("the server goes on", "服务仍在运行"))),
            _ => {}
        }
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Waits; false when the end came.
    fn rest(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while !self.is_over() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(Duration::from_millis(100)));
        }
        false
    }

    /// From the shop of four weeks ago to today's, with a look at how far off the models were, which it gives.
    fn prepare(&self, arrivals: &Arrivals) -> Result<Value> {
        let p = &self.printer;
        p.note(p.lang.pick("the first models are trained", "训练第一批模型"));
        // Fewer trees and rounds than a shop's own prices have: the demo is to be seen soon.
        let prices =
            json!({ "kind": "prices", "params": { "n_rounds": 60, "max_rows": 12_000, "epochs": 3 } });
        self.job("shop", &json!({ "fail_on": "never", "requests": [prices] }), "the first models")?;
        let lines = arrivals.take_in(&self.run, &self.shop)?;
        p.note(match p.lang {
            Lang::En => format!("four weeks of rows arrive: {lines} lines of sales"),
            Lang::Zh => format!("四周的新数据到达：{lines} 条销售行"),
        });
        let looked = self.job("watch", &json!({}), "four weeks arrived")?;
        self.experiment()?;
        let seconds = self.reached("ready");
        p.line(match p.lang {
            Lang::En => {
                format!("ready after {seconds:.0} s; {} visitors a minute; Ctrl-C ends it", self.per_minute)
            }
            Lang::Zh => {
                format!("就绪，用时 {seconds:.0} 秒；每分钟 {} 位访客；按 Ctrl-C 结束", self.per_minute)
            }
        });
        Ok(looked)
    }

    /// Tells programs what is reached, and gives the seconds since the beginning.
    fn reached(&self, what: &str) -> f64 {
        let seconds = self.begun.elapsed().as_secs_f64();
        if self.printer.json {
            self.printer.raw(&format!("{}\n", json!({ what: true, "seconds": seconds })));
        }
        seconds
    }

    /// Trains challengers on what arrived, and waits until the better ones answer.
    fn renew(&self, looked: &Value) -> Result<()> {
        let p = &self.printer;
        p.note(p.lang.pick(
            "challengers are trained on the new rows; what is better is promoted",
            "用新数据训练挑战者；更好的将上线",
        ));
        // The look asks for training itself where it sees a reason.
        let asked =
            looked["steps"].as_array().into_iter().flatten().find_map(|step| step["data"]["run"].as_i64());
        match asked {
            Some(run) => self.follow(&json!(run), "shop")?,
            None => {
                let kinds = json!(["trends", "forecasts", "recommendations"]);
                self.job("shop", &json!({ "fail_on": "never", "kinds": kinds }), "four weeks arrived")?
            }
        };
        for model in ["trends", "forecasts", "recommendations"] {
            let history = self.api.get(&format!("/v1/models/{model}/history?alias=champion&limit=1"))?;
            if let Some(newest) = history["moves"].get(0) {
                let reason = newest["reason"].as_str().unwrap_or_default();
                p.note(format!("  {model}@{}: {reason}", newest["to"]));
            }
        }
        let seconds = self.reached("renewed");
        p.note(match p.lang {
            Lang::En => format!("the newest models answer after {seconds:.0} s"),
            Lang::Zh => format!("最新模型已上线，用时 {seconds:.0} 秒"),
        });
        Ok(())
    }

    /// Asks for a run and waits for its end, which it gives.
    fn job(&self, pipeline: &str, parameters: &Value, reason: &str) -> Result<Value> {
        let asked = json!({ "pipeline": pipeline, "parameters": parameters, "reason": reason });
        let id = self.api.post("/v1/jobs", &asked)?["job"]["id"].clone();
        self.follow(&id, pipeline)
    }

    /// Waits for the end of a run.
    fn follow(&self, id: &Value, pipeline: &str) -> Result<Value> {
        let mut known: BTreeMap<String, String> = BTreeMap::new();
        while self.rest(Duration::from_millis(250)) {
            let shown = self.api.get(&format!("/v1/jobs/{id}"))?;
            for step in shown["steps"].as_array().into_iter().flatten() {
                let (name, state) = (text(step, "name"), text(step, "state"));
                if !matches!(&*state, "queued" | "running") && known.get(&name) != Some(&state) {
                    self.printer.note(format!("  {name}: {state}"));
                    known.insert(name, state);
                }
            }
            let job = &shown["job"];
            match &*text(job, "state") {
                "queued" | "running" => {}
                "succeeded" | "cached" => return Ok(shown),
                other => {
                    let fault = format!("run {id} of {pipeline}: {other} ({})", text(job, "error"));
                    return Err(Error::asked(fault, format!("see tradewind jobs show {id}")));
                }
            }
        }
        Err(Error::asked("the end came first", "start the demo again"))
    }

    /// Does the first page sell more with items chosen for each visitor than with what rises for all?
    fn experiment(&self) -> Result<()> {
        let plan = json!({
            "name": EXPERIMENT, "judged": "sequential", "users": 4000,
            "hypothesis": self.printer.lang.pick(
                "a first page that knows the visitor is clicked and bought from more than one with what rises for all",
                "按访客推荐的首页比展示整体热销趋势的首页带来更多点击和购买",
            ),
            "arms": [{ "name": "rising", "percent": 50.0, "settings": { "surface": "trending" } },
                     { "name": "for_you", "percent": 50.0, "settings": { "surface": "for_you" } }],
            "metrics": [{ "name": "click_through", "purpose": "primary" },
                        { "name": "conversion", "purpose": "secondary" },
                        { "name": "cart_rate", "purpose": "guard", "margin_percent": 20.0 }],
            "reason": "demo",
        });
        self.api.post("/v1/experiments", &plan)?;
        self.api.post(&format!("/v1/experiments/{EXPERIMENT}/start"), &json!({ "reason": "demo" }))?;
        Ok(())
    }

    /// Visitors, one after the other, until the end.
    fn receive(&self) -> Result<()> {
        if self.per_minute <= 0.0 {
            return Ok(());
        }
        let mut visitors = Visitors::of(&self.run, &self.shop)?;
        let (mut due, mut told) = (Instant::now(), Instant::now());
        let (mut visits, mut acts, mut orders) = (0u64, 0usize, 0usize);
        loop {
            due += Duration::from_secs_f64(visitors.pause_s(self.per_minute));
            if !self.rest(due.saturating_duration_since(Instant::now())) {
                return Ok(());
            }
            let visit = visitors.arrive();
            let walked = self.first_page(&visit).map(|shown| visitors.walk(&visit, &shown));
            match walked.and_then(|walked| self.send(&visit, &walked).map(|()| walked)) {
                Ok(walked) => {
                    visits += 1;
                    acts += walked.len();
                    orders += walked.iter().filter(|act| act.event == "purchase").count();
                }
                Err(_) if self.is_over() => return Ok(()),
                // One who is turned away keeps nobody else from coming.
                Err(e) => {
                    self.printer.note(e.to_string());
                    self.rest(Duration::from_secs(5));
                    due = Instant::now();
                }
            }
            if told.elapsed() >= Duration::from_secs(60) {
                told = Instant::now();
                self.printer.note(match self.printer.lang {
                    Lang::En => format!("{visits} visitors, {acts} events, {orders} purchases so far"),
                    Lang::Zh => format!("累计 {visits} 位访客，{acts} 条事件，{orders} 次购买"),
                });
            }
        }
    }

    /// The products on the first page of the visitor's arm.
    fn first_page(&self, visit: &Visit) -> Result<Vec<String>> {
        let assigned = self.api.post("/v1/experiments/assign", &json!({ "user_id": visit.user_id }))?;
        let arm = assigned["arms"].as_array().into_iter().flatten().find(|a| a["experiment"] == EXPERIMENT);
        let surface = arm.map_or(json!("trending"), |arm| arm["settings"]["surface"].clone());
        let asked = json!({ "surface": surface, "user": visit.user_id, "n": SHOWN });
        let answer = self.api.post("/v1/recommendations", &asked)?;
        let items = answer["items"].as_array().into_iter().flatten();
        Ok(items.filter_map(|item| item["item"].as_str().map(str::to_owned)).collect())
    }

    fn send(&self, visit: &Visit, acts: &[Act]) -> Result<()> {
        let events: Vec<Value> = acts
            .iter()
            .enumerate()
            .map(|(k, act)| {
                json!({
                    "event_id": format!("{}-{k}", visit.session_id), "event": act.event, "user_id": visit.user_id,
                    "session_id": visit.session_id, "product_id": act.product_id, "query": act.query,
                    "value": act.value,
                })
            })
            .collect();
        self.api.post("/v1/events", &json!({ "events": events }))?;
        Ok(())
    }
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}
