//! What the demo shop sells: categories, kinds of things, and the products made from them.

use super::DemoSettings;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal};

/// A category, its habits and its customers.
pub(super) struct CategorySpec {
    pub(super) name_zh: &'static str,
    pub(super) name_en: &'static str,
    /// Share of sales on Monday to Sunday against the mean day.
    pub(super) week: [f64; 7],
    /// How strongly the shop-wide shopping festivals work, 1 for the average.
    pub(super) festival_pull: f64,
    /// Share of lines that come back.
    pub(super) return_rate: f64,
}

/// A kind of thing in a category.
pub(super) struct ItemSpec {
    pub(super) category: usize,
    pub(super) name_zh: &'static str,
    pub(super) name_en: &'static str,
    /// For whom or what, in Chinese, beside the name.
    pub(super) note_zh: &'static str,
    /// Usual price in yuan.
    pub(super) price: f64,
    /// Day of the year of the highest sales, and how far they swing: ln of highest over mean.
    pub(super) peak_day: f64,
    pub(super) swing: f64,
    /// Festivals that move it beyond the rest of the shop, with ln of the effect at its height.
    pub(super) festivals: &'static [(&'static str, f64)],
}

const OFFICE: [f64; 7] = [1.12, 1.10, 1.06, 1.04, 1.00, 0.84, 0.84];
const WEEKEND: [f64; 7] = [0.86, 0.84, 0.88, 0.94, 1.06, 1.24, 1.18];
const EVEN: [f64; 7] = [1.02, 0.98, 0.98, 0.98, 1.00, 1.02, 1.02];

const fn category(
    name_zh: &'static str,
    name_en: &'static str,
    week: [f64; 7],
    festival_pull: f64,
    return_rate: f64,
) -> CategorySpec {
    CategorySpec { name_zh, name_en, week, festival_pull, return_rate }
}

pub(super) const CATEGORIES: &[CategorySpec] = &[
    category("女装", "Women's clothing", WEEKEND, 1.1, 0.09),
    category("男装", "Menswear", WEEKEND, 0.9, 0.07),
    category("食品", "Food", EVEN, 0.6, 0.01),
    category("家居", "Home", WEEKEND, 0.9, 0.03),
    category("数码", "Electronics", OFFICE, 1.2, 0.04),
    category("美妆", "Beauty", EVEN, 1.3, 0.02),
    category("母婴", "Baby and kids", OFFICE, 1.0, 0.02),
    category("运动户外", "Sports and outdoor", WEEKEND, 0.8, 0.05),
    category("家电", "Appliances", WEEKEND, 1.2, 0.03),
    category("文具", "Stationery", OFFICE, 0.5, 0.01),
    category("节庆用品", "Festive goods", EVEN, 0.3, 0.02),
];

const fn item(
    category: usize,
    name_zh: &'static str,
    name_en: &'static str,
    note_zh: &'static str,
    price: f64,
    peak_day: f64,
    swing: f64,
    festivals: &'static [(&'static str, f64)],
) -> ItemSpec {
    ItemSpec { category, name_zh, name_en, note_zh, price, peak_day, swing, festivals }
}

const GIFT: &[(&str, f64)] = &[("valentines_day", 0.9), ("qixi", 0.8), ("may_20", 0.7), ("womens_day", 0.5)];
const HAMPER: &[(&str, f64)] = &[("spring_festival", 1.4), ("mid_autumn", 0.5)];
const SCHOOL: &[(&str, f64)] = &[("back_to_school", 1.2)];

pub(super) const ITEMS: &[ItemSpec] = &[
    item(0, "防晒衣", "Sun-proof jacket", "女 透气", 129.0, 165.0, 1.3, &[]),
    item(0, "羽绒服", "Down jacket", "女 中长款", 459.0, 335.0, 1.5, &[]),
    item(0, "连衣裙", "Summer dress", "女 收腰", 199.0, 150.0, 0.8, &[("womens_day", 0.4), ("may_20", 0.4)]),
    item(0, "针织衫", "Knit sweater", "女 宽松", 169.0, 290.0, 0.9, &[]),
    item(1, "冲锋衣", "Shell jacket", "男 防水", 329.0, 300.0, 0.8, &[("fathers_day", 0.3)]),
    item(1, "短袖T恤", "Cotton T-shirt", "男 纯棉", 79.0, 170.0, 0.9, &[]),
    item(1, "保暖内衣", "Thermal underwear", "男 加绒", 119.0, 345.0, 1.3, &[]),
    item(2, "月饼礼盒", "Mooncake gift box", "中秋 送礼", 168.0, 250.0, 0.3, &[("mid_autumn", 3.2)]),
    item(2, "坚果礼盒", "Nut gift box", "年货 送礼", 139.0, 20.0, 0.3, HAMPER),
    item(2, "粽子", "Zongzi rice dumplings", "端午 早餐", 69.0, 150.0, 0.2, &[("dragon_boat", 2.6)]),
    item(2, "咖啡豆", "Coffee beans", "中度烘焙", 88.0, 340.0, 0.1, &[]),
    item(2, "绿茶", "Green tea", "明前 春茶", 118.0, 105.0, 0.7, &[("spring_festival", 0.6)]),
    item(3, "凉席", "Cooling mat", "可折叠", 149.0, 175.0, 1.6, &[]),
    item(3, "四件套", "Bedding set", "全棉", 259.0, 285.0, 0.3, &[]),
    item(3, "收纳箱", "Storage box", "大号 透明", 59.0, 60.0, 0.2, &[("spring_festival", 0.4)]),
    item(3, "香薰蜡烛", "Scented candle", "卧室 助眠", 79.0, 340.0, 0.3, GIFT),
    item(4, "蓝牙耳机", "Bluetooth earphones", "降噪", 299.0, 320.0, 0.2, &[("black_friday", 0.5)]),
    item(4, "充电宝", "Power bank", "快充 轻薄", 119.0, 200.0, 0.2, &[("national_day", 0.4)]),
    item(4, "手机壳", "Phone case", "防摔", 39.0, 280.0, 0.2, &[]),
    item(4, "手持小风扇", "Handheld fan", "静音", 59.0, 180.0, 1.8, &[]),
    item(5, "防晒霜", "Sunscreen", "SPF50 清爽", 99.0, 160.0, 1.1, &[]),
    item(5, "口红", "Lipstick", "哑光 显白", 159.0, 320.0, 0.1, GIFT),
    item(5, "补水面膜", "Sheet mask", "10片装", 69.0, 320.0, 0.3, &[("womens_day", 0.6)]),
    item(5, "护手霜", "Hand cream", "滋润", 49.0, 350.0, 0.9, &[]),
    item(6, "纸尿裤", "Diapers", "L码", 139.0, 200.0, 0.05, &[]),
    item(
        6,
        "积木",
        "Building blocks",
        "益智 儿童",
        189.0,
        340.0,
        0.2,
        &[("childrens_day", 1.1), ("christmas", 0.5)],
    ),
    item(6, "婴儿湿巾", "Baby wipes", "无香", 45.0, 200.0, 0.05, &[]),
    item(
        7,
        "露营帐篷",
        "Camping tent",
        "全自动",
        399.0,
        125.0,
        0.9,
        &[("labour_day", 0.7), ("national_day", 0.7)],
    ),
    item(7, "瑜伽垫", "Yoga mat", "加厚 防滑", 89.0, 75.0, 0.3, &[("new_year", 0.4)]),
    item(7, "滑雪手套", "Ski gloves", "防水", 129.0, 355.0, 1.9, &[]),
    item(7, "跑步鞋", "Running shoes", "缓震", 359.0, 110.0, 0.3, &[]),
    item(8, "空气炸锅", "Air fryer", "大容量", 349.0, 320.0, 0.2, &[("black_friday", 0.5)]),
    item(8, "加湿器", "Humidifier", "静音 卧室", 159.0, 350.0, 1.1, &[]),
    item(8, "电风扇", "Electric fan", "落地", 189.0, 170.0, 1.7, &[]),
    item(9, "书包", "School backpack", "小学生 护脊", 199.0, 235.0, 0.4, SCHOOL),
    item(9, "笔记本", "Notebook", "A5 加厚", 29.0, 240.0, 0.2, SCHOOL),
    item(9, "中性笔", "Gel pens", "12支装", 19.0, 240.0, 0.2, SCHOOL),
    item(10, "圣诞树", "Christmas tree", "装饰 带灯", 149.0, 345.0, 0.6, &[("christmas", 2.8)]),
    item(10, "春联", "Spring couplets", "新年 烫金", 35.0, 20.0, 0.4, &[("spring_festival", 3.0)]),
    item(10, "万圣节服装", "Halloween costume", "儿童", 89.0, 290.0, 0.4, &[("halloween", 2.6)]),
];

/// Brand in Chinese and English; the shop uses the one or the other.
const BRANDS: &[(&str, &str)] = &[
    ("云帆", "Yunfan"),
    ("北岸", "Northbank"),
    ("山岚", "Shanlan"),
    ("鹿语", "Deertalk"),
    ("青禾", "Qinghe"),
    ("木一", "Muyi"),
    ("Lumora", "Lumora"),
    ("Kestrel & Co", "Kestrel & Co"),
    ("拾光", "Shiguang"),
    ("橙屿", "Orange Isle"),
    ("Velden", "Velden"),
    ("知南", "Zhinan"),
];

const STYLES: &[(&str, &str)] = &[
    ("薄款", "lightweight"),
    ("加厚", "extra thick"),
    ("新款", "new"),
    ("经典", "classic"),
    ("升级版", "upgraded"),
    ("便携", "portable"),
    ("家用", "for home"),
    ("高颜值", "stylish"),
    ("简约", "minimal"),
    ("限定", "limited edition"),
];

/// How a product's level moves over its life.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Life {
    /// Sold for years, with a slow drift of its ln level a year.
    Evergreen { drift: f64 },
    /// Grows from its launch over `growth` days, stays for `plateau` days, then halves every `half_life` days until it
    /// is taken off sale.
    Cycle { growth: f64, plateau: f64, half_life: f64 },
}

/// A sudden fashion.
#[derive(Clone, Copy, Debug)]
pub(super) struct Viral {
    pub(super) day: f64,
    /// ln of the effect at its height.
    pub(super) height: f64,
    pub(super) half_life: f64,
}

/// One product as the simulation knows it.
pub(super) struct Product {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) brand: &'static str,
    pub(super) style_en: &'static str,
    pub(super) item: &'static ItemSpec,
    pub(super) item_idx: usize,
    pub(super) list_price: f64,
    pub(super) cost: f64,
    /// Mean units a day at its full level.
    pub(super) level: f64,
    /// Day on which it is first on sale, counted from the first day of the tables.
    pub(super) launch: i64,
    pub(super) life: Life,
    pub(super) viral: Option<Viral>,
    /// d ln units / d ln price.
    pub(super) elasticity: f64,
    /// d ln units / d ln (competitors' price ÷ own).
    pub(super) cross: f64,
    /// Size of the negative binomial noise: its variance is m + m² / size.
    pub(super) size: f64,
    pub(super) swing: f64,
    pub(super) peak_day: f64,
    pub(super) lead_time_days: u32,
    /// Share of deliveries that come late.
    pub(super) late: f64,
    pub(super) conversion: f64,
}

/// The price point below: 9 at the end for whole yuan from 100 on, .9 below.
pub(super) fn price_point(price: f64) -> f64 {
    if price >= 100.0 {
        ((price / 10.0).round() * 10.0 - 1.0).max(9.0)
    } else {
        (price.round() - 0.1).max(0.9)
    }
}

fn pick<'a, T>(rng: &mut ChaCha8Rng, from: &'a [T]) -> &'a T {
    &from[rng.random_range(0..from.len())]
}

/// The catalogue of the run. Kinds of things follow one another, so that a small shop has all categories too.
pub(super) fn products(settings: &DemoSettings, rng: &mut ChaCha8Rng) -> Vec<Product> {
    let days = settings.days as f64;
    let spread = LogNormal::new(0.0, 1.0).expect("a positive spread");
    (0..settings.n_products)
        .map(|p| {
            // Step through the list with a stride prime to its length.
            let item_idx = p * 17 % ITEMS.len();
            let item = &ITEMS[item_idx];
            let (brand_zh, brand_en) = *pick(rng, BRANDS);
            let (style_zh, style_en) = *pick(rng, STYLES);
            let season = match item.peak_day as i64 {
                _ if item.swing < 0.7 => "",
                60..=140 => "春季",
                141..=230 => "夏季",
                231..=315 => "秋季",
                _ => "冬季",
            };
            let code: u32 = rng.random_range(100..1000);
            let (brand, title) = match p % 10 {
                0..6 => (
                    brand_zh,
                    format!(
                        "{brand_zh} {season}{style_zh}{} {} {}",
                        item.name_zh, item.note_zh, item.name_en
                    ),
                ),
                6..8 => (
                    brand_zh,
                    format!("{brand_zh}{season}{style_zh}{} {} {code}", item.name_zh, item.note_zh),
                ),
                _ => (brand_en, format!("{brand_en} {} – {style_en}, model {code}", item.name_en)),
            };
            let list_price = price_point(item.price * rng.random_range(0.65..1.55));
            let slow = rng.random_bool(0.18);
            let level = if slow {
                rng.random_range(0.03..0.2)
            } else {
                // Cheap things sell more; the spread between products is wide.
                let cheap = (120.0 / list_price).powf(0.35);
                (1.2 * cheap * spread.sample(rng)).clamp(0.15, 14.0)
            };
            let (launch, life) = match rng.random_range(0..100) {
                0..52 => {
                    (-rng.random_range(100..1500), Life::Evergreen { drift: rng.random_range(-0.35..0.35) })
                }
                52..80 => {
                    let launch = rng.random_range(-0.3..0.8) * days;
                    let growth = rng.random_range(40.0..150.0);
                    let plateau = rng.random_range(20.0..160.0);
                    (launch as i64, Life::Cycle { growth, plateau, half_life: rng.random_range(20.0..80.0) })
                }
                80..90 => {
                    let age = rng.random_range(15.0..100.0f64).min(days * 0.6);
                    let growth = rng.random_range(30.0..90.0);
                    ((days - age) as i64, Life::Cycle { growth, plateau: 200.0, half_life: 60.0 })
                }
                _ => {
                    // Long on sale, and past its time before the tables end.
                    let fall = rng.random_range(0.4..0.95) * days;
                    let launch = -rng.random_range(200..900);
                    let plateau = fall - launch as f64 - 60.0;
                    (launch, Life::Cycle { growth: 60.0, plateau, half_life: rng.random_range(40.0..120.0) })
                }
            };
            let viral = rng.random_bool(0.08).then(|| Viral {
                day: rng.random_range(0.2..1.0) * days,
                height: rng.random_range(0.9..2.0),
                half_life: rng.random_range(8.0..25.0),
            });
            Product {
                id: format!("P{:05}", p + 1),
                title: title.split_whitespace().collect::<Vec<_>>().join(" "),
                brand,
                style_en,
                item,
                item_idx,
                list_price,
                cost: (list_price * rng.random_range(0.35..0.65) * 100.0).round() / 100.0,
                level,
                launch,
                life,
                viral,
                elasticity: -rng.random_range(0.6..3.2),
                cross: rng.random_range(0.2..0.9),
                size: rng.random_range(1.5..12.0),
                swing: item.swing * rng.random_range(0.8..1.2),
                peak_day: item.peak_day + rng.random_range(-10.0..10.0),
                lead_time_days: rng.random_range(3..18),
                late: if rng.random_bool(0.15) { 0.45 } else { 0.08 },
                conversion: rng.random_range(0.02..0.06),
            }
        })
        .collect()
}
