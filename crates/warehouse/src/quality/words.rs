//! What findings mean and what to do about them, in English and Chinese.

use super::FindingCode;
use serde::Serialize;

/// The same text in two languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bilingual {
    /// English.
    pub en: &'static str,
    /// Chinese.
    pub zh: &'static str,
}

/// The texts of a finding.
pub(crate) struct Words {
    pub(crate) title: Bilingual,
    pub(crate) meaning: Bilingual,
    pub(crate) remedy: Bilingual,
}

/// Title, meaning and remedy, each in English and Chinese.
type Texts = [(&'static str, &'static str); 3];

pub(crate) fn words(code: FindingCode) -> Words {
    let [title, meaning, remedy] = texts(code).map(|(en, zh)| Bilingual { en, zh });
    Words { title, meaning, remedy }
}

fn texts(code: FindingCode) -> Texts {
    use FindingCode as F;
    match code {
        F::NoSales => [
            ("no sales", "没有销售数据"),
            ("The shop has no sales lines, so nothing can be predicted.", "店铺里没有销售行，无法预测。"),
            ("Import sales with `tradewind import`.", "用 `tradewind import` 导入销售数据。"),
        ],
        F::RejectedRows => [
            ("rejected rows", "被拒绝的行"),
            (
                "Rows that an import could not read and left out; the examples tell the reasons.",
                "导入时无法读取而未入库的行，示例列出原因。",
            ),
            (
                "Look into the reject file, repair the rows or the mapping, undo the import and import again.",
                "查看拒绝文件，修正数据或映射，撤销该次导入后重新导入。",
            ),
        ],
        F::ConvertedEncoding => [
            ("text decoded from another encoding", "文本由其他编码转换"),
            (
                "The source was not in UTF-8; its text was decoded from the encoding named.",
                "源文件不是 UTF-8，文本已按所列编码转换。",
            ),
            (
                "Look whether titles read well; otherwise import again with the right encoding.",
                "检查标题是否正常显示；若有乱码，请指定正确编码重新导入。",
            ),
        ],
        F::MixedDateFormats => [
            ("dates in another format", "日期格式不一致"),
            (
                "Dates of one column are not all written in the same way; rows in another format were refused or may be misread.",
                "同一列的日期写法不一致；其他格式的行被拒绝，或可能被误读。",
            ),
            (
                "Write all dates as 2024-03-31, or give their order (`--date-order`), and import again.",
                "把日期统一写成 2024-03-31，或用 `--date-order` 指明顺序，再重新导入。",
            ),
        ],
        F::Duplicates => [
            ("repeated sales lines", "重复的销售行"),
            (
                "Lines that repeat another in every column. Some are exports taken twice, some are rightly alike.",
                "所有列都相同的销售行，可能是重复导出，也可能确实相同。",
            ),
            (
                "Cleaning drops them (clean.duplicates = \"drop\"); set \"keep\" if they are real.",
                "清洗时会去除（clean.duplicates = \"drop\"）；若属实请设为 \"keep\"。",
            ),
        ],
        F::RepeatedAcrossImports => [
            ("lines brought by two imports", "两次导入了相同的行"),
            (
                "Lines that are the same in every column and came with more than one import: the files overlap.",
                "不同导入带来完全相同的行，说明文件内容有重叠。",
            ),
            (
                "Undo one of the imports, or let cleaning drop the repeats.",
                "撤销其中一次导入，或由清洗步骤去重。",
            ),
        ],
        F::MissingDays => [
            ("days without any sale", "整店缺失的日期"),
            (
                "Days inside the shop's history on which no product has a row; weekdays on which it never sells are not counted.",
                "店铺历史期间没有任何商品记录的日子；从不营业的星期几不计。",
            ),
            (
                "Look whether an export is missing; if the shop was closed, enter the days as kind \"closed\" in the calendar table.",
                "检查是否漏导数据；若是歇业，请在 calendar 表中以 \"closed\" 登记。",
            ),
        ],
        F::ClosedWeekdays => [
            ("weekdays without sales", "从不营业的星期"),
            ("The shop sells nothing on these weekdays.", "店铺在这些星期几没有销售。"),
            ("Nothing needs to be done; models learn the weekly pattern.", "无需处理，模型会学习每周规律。"),
        ],
        F::ProductGaps => [
            ("days without a row inside products' lives", "商品生命期内的缺失日期"),
            (
                "Days on which the shop sold but a product has no row, between its first and last one. Most often nothing was sold. The example tells how many products of all have such days.",
                "店铺有销售而某商品没有记录的日子，多数是当日无销量。示例为有缺失的商品数与商品总数。",
            ),
            (
                "Cleaning fills them (clean.missing_sales); import stock, so that days without stock are known.",
                "清洗时按 clean.missing_sales 填补；导入库存数据可识别缺货日。",
            ),
        ],
        F::ZeroRuns => [
            ("steady sellers that fall silent", "畅销商品突然断销"),
            (
                "Products that sell on most days sold nothing for a week or longer and then sold again: a stock-out, a delisting or missing data.",
                "平时几乎天天有销量的商品连续一周以上为零，随后又恢复：可能缺货、下架或数据缺失。",
            ),
            (
                "Look into stock and listings of those days; import the stock table to have them treated as unknown.",
                "核对当时的库存与上架情况；导入 stock 表后，这些日子会按需求未知处理。",
            ),
        ],
        F::StockOuts => [
            ("out of stock", "缺货"),
            (
                "Counts of stock at or below zero: what was sold then is less than what was wanted.",
                "库存为零或以下的记录，当时的销量低于真实需求。",
            ),
            (
                "Cleaning treats these days as unknown (clean.stock_outs); order earlier.",
                "清洗时按需求未知处理（clean.stock_outs）；建议提前补货。",
            ),
        ],
        F::NegativeStock => [
            ("stock below zero", "库存为负"),
            (
                "There cannot be less than nothing on hand: bookings are late or wrong.",
                "现有库存不可能为负，说明入账滞后或有误。",
            ),
            ("Correct the counts in the source.", "在来源系统中更正库存。"),
        ],
        F::NegativePrices => [
            ("negative prices", "负价格"),
            (
                "Prices below zero: corrections, bad debts or typing errors. They spoil price features and revenue.",
                "价格小于零，可能是调账、坏账或录入错误，会影响价格特征和收入。",
            ),
            (
                "Correct or leave them out in the source; list such ids in clean.exclude_products.",
                "在来源中更正或去除；此类编号可写入 clean.exclude_products。",
            ),
        ],
        F::ZeroPrices => [
            ("prices of zero", "零价格"),
            (
                "Lines sold for nothing: gifts, samples or corrections of the stock.",
                "以零价成交：赠品、样品或库存调整。",
            ),
            (
                "Choose by clean.zero_price whether they count as demand.",
                "用 clean.zero_price 决定是否计入需求。",
            ),
        ],
        F::Returns => [
            ("returns", "退货"),
            ("Lines with a quantity below zero or marked as returned.", "数量为负或标记为退货的行。"),
            (
                "Cleaning nets them against their purchase (clean.returns).",
                "清洗时与原购买冲抵（clean.returns）。",
            ),
        ],
        F::Cancellations => [
            ("cancellations", "取消"),
            ("Lines of orders that were cancelled.", "已取消订单的行。"),
            (
                "Cleaning takes them off the sale they undo (clean.returns).",
                "清洗时冲抵被取消的销售（clean.returns）。",
            ),
        ],
        F::Outliers => [
            ("unusual days", "异常销量"),
            (
                "Days on which a product sold far more than it usually does, beyond 8 median absolute deviations on a logarithmic scale.",
                "某商品单日销量远高于平时（对数尺度上超过 8 倍中位数绝对偏差）。",
            ),
            (
                "Look whether it was a bulk order or a typing error; cap or mark them by clean.outliers.",
                "核实是大宗订单还是录入错误；可用 clean.outliers 截断或标记。",
            ),
        ],
        F::PriceOutliers => [
            ("single prices far off", "个别价格异常"),
            (
                "Once or twice a product has a price of 8 times, or an eighth of, its usual one.",
                "个别记录的价格是平常的 8 倍以上或八分之一以下。",
            ),
            ("Look for typing errors, as a lost decimal point.", "检查录入错误，例如漏了小数点。"),
        ],
        F::PriceBreaks => [
            ("the price level jumps", "价格水平断裂"),
            (
                "Several prices of a product are 8 times, or an eighth of, its usual one: another unit (dozen, case, cents) or currency. The example tells the factor and the number of lines.",
                "商品有多条价格与平常相差 8 倍以上，可能换了单位（打、箱、分）或币种。示例为倍数与行数。",
            ),
            (
                "Bring quantities and prices to one unit and currency, and import again.",
                "统一数量单位与币种后重新导入。",
            ),
        ],
        F::MixedCurrencies => [
            ("several currencies", "多种货币"),
            (
                "One table holds prices in several currencies, or in another than the shop's; sums of money would be wrong.",
                "同一张表中有多种货币，或与店铺币种不同，金额相加会出错。",
            ),
            (
                "Convert to one currency before importing, and set shop.currency.",
                "导入前换算为同一货币，并设置 shop.currency。",
            ),
        ],
        F::MixedUnits => [
            ("several units of one product", "同一商品单位不一"),
            (
                "A product is counted in several units, so its quantities cannot be added.",
                "同一商品使用多种计量单位，数量无法相加。",
            ),
            (
                "Convert to one unit, or give each unit an id of its own.",
                "换算为同一单位，或为不同单位使用不同编号。",
            ),
        ],
        F::ProductsWithoutSales => [
            ("products never sold", "没有销售的商品"),
            (
                "Products of the catalogue without a sales line: new, dormant, or known by another id.",
                "目录中没有任何销售行的商品：新品、滞销，或编号不一致。",
            ),
            (
                "Nothing for new products; otherwise compare the ids of both tables.",
                "新品无需处理；否则核对两张表的编号。",
            ),
        ],
        F::SalesWithoutProduct => [
            ("sold products missing from the catalogue", "目录中缺少的已售商品"),
            (
                "Sales of products that the catalogue does not have: category, brand and title are unknown.",
                "已售商品不在目录中，类目、品牌、标题未知。",
            ),
            (
                "Import the missing products, or list ids that are none in clean.exclude_products.",
                "补充导入商品资料；若不是商品，请写入 clean.exclude_products。",
            ),
        ],
        F::LateData => [
            ("late data", "迟到数据"),
            (
                "An import brought days older than the newest one there was; forecasts made before did not know them.",
                "后来的导入带来了早于已有最新日期的数据，此前的预测并不知道它们。",
            ),
            (
                "Nothing if it was meant as a supplement; otherwise import in the order of time.",
                "若是补录则无需处理；否则请按时间顺序导入。",
            ),
        ],
        F::FutureDates => [
            ("dates in the future", "未来日期"),
            (
                "Rows dated after today: typing errors, or day and month swapped.",
                "日期晚于今天：录入错误，或日月颠倒。",
            ),
            (
                "Correct them in the source, or give the order of day and month at the import.",
                "在来源中更正，或导入时指明日月顺序。",
            ),
        ],
        F::OldDates => [
            ("absurdly old dates", "过早的日期"),
            (
                "Rows dated before 1990: often a wrong century or a number read as a date.",
                "日期早于 1990 年，多为世纪写错或把数字当作日期。",
            ),
            ("Correct them in the source.", "在来源中更正。"),
        ],
        F::PlaceholderDates => [
            ("placeholder dates", "占位日期"),
            (
                "Dates that programs write when they know none, as 1970-01-01 or 9999-12-31.",
                "程序在没有日期时写入的值，如 1970-01-01、9999-12-31。",
            ),
            ("Find the real dates, or leave the rows out.", "补上真实日期，或去除这些行。"),
        ],
        F::DamagedText => [
            ("damaged text", "乱码文本"),
            (
                "Text with signs of a wrong encoding, as replacement characters.",
                "文本中有编码错误的痕迹，例如替换符或“锟斤拷”。",
            ),
            (
                "Export again in UTF-8 or name the right encoding at the import.",
                "以 UTF-8 重新导出，或导入时指定正确编码。",
            ),
        ],
        F::NearDuplicateIds => [
            ("ids that differ only in case, width or spaces", "仅大小写、全半角或空格不同的编号"),
            (
                "Product ids that are most likely one product written in several ways; its history is split.",
                "很可能是同一商品的不同写法，历史数据被拆散。",
            ),
            ("Write ids alike in the source and import again.", "在来源中统一编号写法后重新导入。"),
        ],
    }
}
