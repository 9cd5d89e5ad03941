//! The catalogue of built-in events: keys, names, regions and run-up.

use super::{Kind, Region};
use Kind::{Festival, Holiday, Workday};
use Region::{Cn, De, Fr, Gb, Jp, Us};

/// What is known about an event apart from its dates.
#[derive(Clone, Copy, Debug)]
pub struct EventSpec {
    /// The stable name, as `spring_festival`.
    pub key: &'static str,
    /// English name.
    pub name_en: &'static str,
    /// Chinese name.
    pub name_zh: &'static str,
    /// What sort.
    pub kind: Kind,
    /// Where it is kept.
    pub regions: &'static [Region],
    /// Days before its first day in which shoppers already behave differently.
    pub run_up_days: u32,
}

const fn event(
    key: &'static str,
    name_en: &'static str,
    name_zh: &'static str,
    kind: Kind,
    regions: &'static [Region],
    run_up_days: u32,
) -> EventSpec {
    EventSpec { key, name_en, name_zh, kind, regions, run_up_days }
}

const ALL: &[Region] = &Region::ALL;
const WEST: &[Region] = &[Us, Gb, De, Fr];
const EUROPE: &[Region] = &[Gb, De, Fr];

/// All built-in events, in the order of their feature columns. New ones are added at the end of their block.
pub const EVENTS: &[EventSpec] = &[
    // Public holidays of several regions.
    event("new_year", "New Year", "元旦", Holiday, ALL, 7),
    event("labour_day", "Labour Day", "劳动节", Holiday, &[Cn, De, Fr], 5),
    event("good_friday", "Good Friday", "耶稣受难日", Holiday, &[Gb, De], 7),
    event("easter_monday", "Easter Monday", "复活节星期一", Holiday, EUROPE, 0),
    event("ascension", "Ascension Day", "耶稣升天节", Holiday, &[De, Fr], 3),
    event("whit_monday", "Whit Monday", "圣灵降临节星期一", Holiday, &[De, Fr], 3),
    event("christmas", "Christmas Day", "圣诞节", Holiday, WEST, 14),
    event("boxing_day", "Boxing Day", "节礼日", Holiday, &[Gb, De], 0),
    // China.
    event("spring_festival", "Spring Festival", "春节", Holiday, &[Cn], 21),
    event("qingming", "Qingming", "清明节", Holiday, &[Cn], 5),
    event("dragon_boat", "Dragon Boat Festival", "端午节", Holiday, &[Cn], 14),
    event("mid_autumn", "Mid-Autumn Festival", "中秋节", Holiday, &[Cn], 21),
    event("national_day", "National Day", "国庆节", Holiday, &[Cn], 7),
    event("victory_day_70", "70th Victory Day", "抗战胜利70周年纪念日", Holiday, &[Cn], 0),
    event("adjusted_workday", "Adjusted workday", "调休上班", Workday, &[Cn], 0),
    // United States.
    event("mlk_day", "Martin Luther King Jr. Day", "马丁·路德·金日", Holiday, &[Us], 3),
    event("presidents_day", "Presidents' Day", "总统日", Holiday, &[Us], 5),
    event("memorial_day", "Memorial Day", "阵亡将士纪念日", Holiday, &[Us], 7),
    event("juneteenth", "Juneteenth", "六月节", Holiday, &[Us], 3),
    event("independence_day", "Independence Day", "美国独立日", Holiday, &[Us], 7),
    event("labor_day_us", "Labor Day", "美国劳工节", Holiday, &[Us], 7),
    event("columbus_day", "Columbus Day", "哥伦布日", Holiday, &[Us], 3),
    event("veterans_day", "Veterans Day", "退伍军人节", Holiday, &[Us], 5),
    event("thanksgiving", "Thanksgiving", "感恩节", Holiday, &[Us], 14),
    // United Kingdom (England and Wales).
    event("early_may", "Early May bank holiday", "五月初银行假日", Holiday, &[Gb], 3),
    event("spring_bank", "Spring bank holiday", "春季银行假日", Holiday, &[Gb], 3),
    event("summer_bank", "Summer bank holiday", "夏季银行假日", Holiday, &[Gb], 3),
    event("special_bank", "Special bank holiday", "特别银行假日", Holiday, &[Gb], 3),
    // Germany.
    event("german_unity", "Day of German Unity", "德国统一日", Holiday, &[De], 3),
    event("reformation_500", "500 years of Reformation", "宗教改革500周年", Holiday, &[De], 0),
    // Japan.
    event("coming_of_age", "Coming of Age Day", "成人日", Holiday, &[Jp], 7),
    event("foundation_day", "National Foundation Day", "建国纪念日", Holiday, &[Jp], 0),
    event("emperors_birthday", "Emperor's Birthday", "天皇诞生日", Holiday, &[Jp], 0),
    event("vernal_equinox", "Vernal Equinox Day", "春分日", Holiday, &[Jp], 0),
    event("showa_day", "Showa Day", "昭和日", Holiday, &[Jp], 0),
    event("constitution_day", "Constitution Day", "宪法纪念日", Holiday, &[Jp], 0),
    event("greenery_day", "Greenery Day", "绿之日", Holiday, &[Jp], 0),
    event("childrens_day_jp", "Children's Day", "日本儿童节", Holiday, &[Jp], 7),
    event("marine_day", "Marine Day", "海之日", Holiday, &[Jp], 0),
    event("mountain_day", "Mountain Day", "山之日", Holiday, &[Jp], 0),
    event("respect_for_aged", "Respect for the Aged Day", "敬老日", Holiday, &[Jp], 7),
    event("autumnal_equinox", "Autumnal Equinox Day", "秋分日", Holiday, &[Jp], 0),
    event("sports_day", "Sports Day", "体育日", Holiday, &[Jp], 0),
    event("culture_day", "Culture Day", "文化日", Holiday, &[Jp], 0),
    event("labour_thanksgiving", "Labour Thanksgiving Day", "勤劳感谢日", Holiday, &[Jp], 0),
    event("imperial_event", "Imperial event", "皇室庆典", Holiday, &[Jp], 0),
    event("citizens_holiday", "Citizens' holiday", "国民休息日", Holiday, &[Jp], 0),
    // France.
    event("victory_day_fr", "Victory in Europe Day", "欧战胜利日", Holiday, &[Fr], 0),
    event("bastille_day", "Bastille Day", "法国国庆日", Holiday, &[Fr], 3),
    event("assumption", "Assumption", "圣母升天节", Holiday, &[Fr], 0),
    event("all_saints", "All Saints' Day", "诸圣节", Holiday, &[Fr], 5),
    event("armistice", "Armistice Day", "一战停战日", Holiday, &[Fr], 0),
    // Festivals of several regions.
    event("valentines_day", "Valentine's Day", "情人节", Festival, ALL, 14),
    event("mothers_day", "Mother's Day", "母亲节", Festival, &[Cn, Us, De, Jp], 14),
    event("fathers_day", "Father's Day", "父亲节", Festival, &[Cn, Us, Gb, Jp, Fr], 14),
    event("easter", "Easter", "复活节", Festival, WEST, 21),
    event("halloween", "Halloween", "万圣节前夜", Festival, &[Us, Gb, De, Jp], 21),
    event("black_friday", "Black Friday", "黑色星期五", Festival, WEST, 10),
    event("cyber_monday", "Cyber Monday", "网络星期一", Festival, WEST, 3),
    event("prime_day", "Prime Day", "亚马逊会员日", Festival, &[Us, Gb, De, Fr, Jp], 7),
    event(
        "prime_big_deal_days",
        "Prime Big Deal Days",
        "亚马逊秋季会员日",
        Festival,
        &[Us, Gb, De, Fr, Jp],
        5,
    ),
    event("christmas_season", "Christmas season", "圣诞季", Festival, WEST, 7),
    event("christmas_eve", "Christmas Eve", "平安夜", Festival, &[Cn, Jp], 10),
    event("year_end_sales", "Sales after Christmas", "圣诞后大促", Festival, &[Us, Gb], 0),
    event("back_to_school", "Back to school", "开学季", Festival, &[Cn, Us, Gb, De, Fr], 7),
    // China's shopping festivals and feasts.
    event("new_year_goods", "New Year goods festival", "年货节", Festival, &[Cn], 3),
    event("lantern_festival", "Lantern Festival", "元宵节", Festival, &[Cn], 7),
    event("womens_day", "Women's Day", "三八女神节", Festival, &[Cn], 5),
    event("may_20", "520 Confession Day", "520表白日", Festival, &[Cn], 7),
    event("childrens_day", "Children's Day", "六一儿童节", Festival, &[Cn], 10),
    event("618", "618 mid-year festival", "618年中大促", Festival, &[Cn], 8),
    event("qixi", "Qixi", "七夕", Festival, &[Cn], 10),
    event("teachers_day", "Teachers' Day", "教师节", Festival, &[Cn], 5),
    event("double_ninth", "Double Ninth", "重阳节", Festival, &[Cn], 7),
    event("double_11", "Double 11", "双十一", Festival, &[Cn], 12),
    event("double_12", "Double 12", "双十二", Festival, &[Cn], 3),
    event("winter_solstice", "Winter solstice", "冬至", Festival, &[Cn], 3),
    event("laba", "Laba Festival", "腊八节", Festival, &[Cn], 5),
    // Festivals of one region.
    event("super_bowl", "Super Bowl", "超级碗", Festival, &[Us], 14),
    event("mothering_sunday", "Mothering Sunday", "英国母亲节", Festival, &[Gb], 14),
    event("mothers_day_fr", "French Mother's Day", "法国母亲节", Festival, &[Fr], 14),
    event("fathers_day_de", "German Father's Day", "德国父亲节", Festival, &[De], 10),
    event("st_nicholas", "St Nicholas", "圣尼古拉节", Festival, &[De], 7),
    event("white_day", "White Day", "白色情人节", Festival, &[Jp], 10),
    event("new_life_season", "New-life season", "日本新生活季", Festival, &[Jp], 7),
    event("golden_week_jp", "Golden Week", "日本黄金周", Festival, &[Jp], 7),
    event("obon", "Obon", "盂兰盆节", Festival, &[Jp], 7),
];

/// The built-in event of that key.
pub fn spec(key: &str) -> Option<&'static EventSpec> {
    EVENTS.iter().find(|e| e.key == key)
}
