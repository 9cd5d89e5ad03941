//! `tradewind init`: an empty shop.

use crate::Context;
use crate::args::InitArgs;
use crate::exit::Exit;
use serde_json::json;
use tradewind::{Result, Shop, warehouse};

pub(crate) fn run(context: &Context, args: &InitArgs) -> Result<Exit> {
    let dir = context.global.shop.as_ref().unwrap_or(&args.dir);
    let p = &context.printer;
    match Shop::init(dir) {
        Ok(_) => {}
        Err(warehouse::Error::ShopExists(_)) if args.if_absent => {
            p.json(&json!({ "shop": dir, "made": false }));
            p.line(match p.lang.pick("en", "zh") {
                "zh" => format!("店铺目录 {} 已存在，未作改动", dir.display()),
                _ => format!("the shop {} is there; nothing changed", dir.display()),
            });
            return Ok(Exit::Success);
        }
        Err(e) => return Err(e.into()),
    }
    p.json(&json!({ "shop": dir, "made": true }));
    p.line(match p.lang.pick("en", "zh") {
        "zh" => format!("已创建店铺目录 {}（设置在 {}/tradewind.toml）", dir.display(), dir.display()),
        _ => format!("made the shop {} (settings: {}/tradewind.toml)", dir.display(), dir.display()),
    });
    p.note(
        p.lang.pick(
            "next: tradewind import --preset NAME FILE…",
            "下一步：tradewind import --preset 名称 文件…",
        ),
    );
    Ok(Exit::Success)
}
