//! Each preset on a small file written by hand, with exact counts.

use crate::import;
use tradewind_ingest::{Input, Mapping, detect, preset};

const RETAIL: &str = "\
InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
536365,85123A,WHITE HANGING HEART,6,12/1/2010 8:26,2.55,17850.0,United Kingdom
536365,85123A,white hanging heart,2,12/13/2010 8:26,2.55,17850.0,United Kingdom
536366,85123A,WHITE HANGING HEART,1,12/13/2010 8:28,2.55,,France
C536379,85123A,WHITE HANGING HEART,-1,12/13/2010 9:41,2.55,17850.0,United Kingdom
536589,21777,,-10,12/13/2010 16:50,0,,United Kingdom
536590,21778,,10,12/13/2010 16:50,0,,United Kingdom
A563186,B,Adjust bad debt,1,8/12/2011 14:51,-11062.06,,United Kingdom
536370,POST,POSTAGE,3,12/13/2010 8:45,18,12583.0,France
536371,22086,PAPER CHAIN,many,12/13/2010 9:00,2.55,13748.0,United Kingdom
536372,,LOST,1,12/13/2010 9:00,2.55,13748.0,United Kingdom
536373,22086,PAPER CHAIN,1,2010-13-12,2.55,13748.0,United Kingdom
";

#[test]
fn online_retail() {
    let got = import("online-retail", &[Input::bytes("retail.csv", RETAIL)]);
    let f = &got.summary.files[0];
    assert_eq!((f.lines, f.used, f.rejected, f.unused), (11, 6, 5, 0));
    assert_eq!((f.cancelled, f.returned), (1, 1));
    assert_eq!(got.column("sales", "status"), ["", "", "", "cancelled", "returned", ""]);
    assert_eq!(got.column("sales", "ds")[0], "2010-12-01T08:26:00");
    assert_eq!(got.column("sales", "customer_id")[..3], ["17850", "17850", ""]);
    assert_eq!(got.column("sales", "revenue")[0], "15.299999999999999");
    assert_eq!(got.column("sales", "currency")[0], "GBP");
    assert_eq!(
        got.told(),
        [
            (8, "InvoiceNo", "A563186", "excluded"),
            (9, "StockCode", "POST", "excluded"),
            (10, "Quantity", "many", "not_a_number"),
            (11, "StockCode", "", "missing"),
            (12, "InvoiceDate", "2010-13-12", "not_a_date"),
        ]
    );
    // The most frequent title of what was sold; cancelled lines do not vote.
    assert_eq!(got.column("products", "product_id"), ["85123A"]);
    assert_eq!(got.column("products", "title"), ["WHITE HANGING HEART"]);
}

#[test]
fn online_retail_under_its_short_names() {
    let text = RETAIL.replace(
        "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country",
        "invoice,sku,description,qty,ts,unit_price,customer_id,country",
    );
    let got = import("online-retail", &[Input::bytes("retail.csv", text)]);
    assert_eq!((got.summary.used, got.summary.rejected, got.rows("products")), (6, 5, 1));
}

const WIDE: &str = "\
id,item_id,dept_id,cat_id,store_id,state_id,d_1,d_2,d_3
FOODS_3_001_TX_3_validation,FOODS_3_001,FOODS_3,FOODS,TX_3,TX,0,2,x
FOODS_3_002_TX_3_validation,FOODS_3_002,FOODS_3,FOODS,TX_3,TX,1,0,4
";
const CALENDAR: &str = "\
date,wm_yr_wk,weekday,wday,month,year,d,event_name_1,event_type_1,event_name_2,event_type_2,snap_TX
2011-01-29,11101,Saturday,1,1,2011,d_1,,,,,0
2011-01-30,11101,Sunday,2,1,2011,d_2,SuperBowl,Sporting,,,0
2011-01-31,11102,Monday,3,1,2011,d_3,Easter,Cultural,OrthodoxEaster,Religious,0
";
const PRICES: &str = "\
store_id,item_id,wm_yr_wk,sell_price
TX_3,FOODS_3_001,11101,2.5
TX_3,FOODS_3_001,11102,2.75
TX_3,FOODS_3_001,99999,3
";

#[test]
fn m5_wide_with_calendar_and_prices() {
    let got = import(
        "m5",
        &[
            Input::bytes("calendar.csv", CALENDAR),
            Input::bytes("sales_train.csv", WIDE),
            Input::bytes("sell_prices.csv", PRICES),
        ],
    );
    assert_eq!(got.rows("sales"), 5);
    assert_eq!(got.column("sales", "quantity"), ["0.0", "1.0", "2.0", "0.0", "4.0"]);
    assert_eq!(got.column("sales", "ds")[2], "2011-01-30T00:00:00");
    assert_eq!(got.column("sales", "product_id")[1], "FOODS_3_002_TX_3");
    assert_eq!(got.column("products", "subcategory"), ["FOODS_3", "FOODS_3"]);
    assert_eq!(got.column("prices", "price"), ["2.5", "2.75"]);
    assert_eq!(got.column("prices", "ds"), ["2011-01-29T00:00:00", "2011-01-31T00:00:00"]);
    assert_eq!(got.column("calendar", "name"), ["SuperBowl", "Easter", "OrthodoxEaster"]);
    assert_eq!(got.column("calendar", "kind"), ["event", "event", "holiday"]);
    assert_eq!(got.told(), [(2, "@value", "x", "not_a_number"), (4, "wm_yr_wk", "99999", "not_found")]);
    // The first line of the wide file gave rows for two of its days, so it was used.
    let wide = &got.summary.files[1];
    assert_eq!((wide.lines, wide.used, wide.tables["sales"]), (2, 2, 5));
}

#[test]
fn m5_finds_its_calendar_in_the_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |n: &str| folder.path().join(n);
    std::fs::write(path("calendar.csv.gz"), crate::workbook::gzip(CALENDAR.as_bytes())).expect("written");
    std::fs::write(path("sales.csv"), WIDE).expect("written");
    let got = import("m5", &[Input::File(path("sales.csv"))]);
    assert_eq!(got.rows("sales"), 5);
    std::fs::remove_file(path("calendar.csv.gz")).expect("removed");
    let mapping = &preset("m5").expect("a preset").mapping;
    let e = crate::import_with(&[Input::File(path("sales.csv"))], mapping, &Default::default())
        .err()
        .expect("an error");
    assert!(e.to_string().contains("calendar.csv"), "{e}");
}

#[test]
fn m5_long() {
    let got = import("m5", &[Input::bytes("long.csv", "unique_id,ds,y\nFOODS_3_001_TX_3,2011-01-29,3\n")]);
    assert_eq!(got.column("sales", "quantity"), ["3.0"]);
}

#[test]
fn walmart_weekly() {
    let got = import(
        "walmart-weekly",
        &[
            Input::bytes(
                "train.csv",
                "Store,Dept,Date,Weekly_Sales,IsHoliday\n1,2,2010-02-05,50605.27,FALSE\n1,2,2010-02-12,-10.5,TRUE\n",
            ),
            Input::bytes(
                "features.csv",
                "Store,Date,Temperature,Fuel_Price,MarkDown1,CPI,Unemployment,IsHoliday\n1,2010-02-05,42.31,2.572,NA,211.09,8.106,FALSE\n1,2010-02-12,38.51,2.548,100,211.24,8.106,TRUE\n2,2010-02-12,38.51,2.548,NA,211.24,8.106,TRUE\n",
            ),
            Input::bytes("stores.csv", "Store,Type,Size\n1,A,151315\n"),
        ],
    );
    assert_eq!(got.column("sales", "product_id"), ["1_2", "1_2"]);
    assert_eq!(got.column("sales", "status"), ["", "returned"]);
    assert_eq!(got.column("sales", "unit"), ["USD", "USD"]);
    assert_eq!(got.column("products", "category"), ["2"]);
    let series = got.column("market", "series");
    assert_eq!(series.iter().filter(|s| *s == "markdown_1").count(), 1);
    assert_eq!(series.iter().filter(|s| *s == "fuel_price").count(), 3);
    assert_eq!(series.last().map(String::as_str), Some("store_size"));
    assert_eq!(got.column("calendar", "ds"), ["2010-02-12T00:00:00"]);
    assert_eq!(got.column("calendar", "ends"), ["2010-02-18T00:00:00"]);
    assert_eq!((got.summary.lines, got.summary.used, got.summary.rejected), (6, 6, 0));
}

#[test]
fn complete_journey() {
    let got = import(
        "complete-journey",
        &[
            Input::bytes(
                "transactions.csv",
                "household_id,store_id,basket_id,product_id,quantity,sales_value,retail_disc,coupon_disc,coupon_match_disc,week,transaction_timestamp\n900,330,31198570044,1095275,2,1.0,0.25,0.1,0,1,2017-01-01 11:53:26\n900,330,31198570044,1095276,0,0,0,0,0,1,2017-01-01 11:53:26\n",
            ),
            Input::bytes(
                "products.csv",
                "product_id,manufacturer_id,department,brand,product_category,product_type,package_size\n25671,2,GROCERY,National,FRZN ICE,ICE - CRUSHED/CUBED,22 LB\n26081,2,MISCELLANEOUS,National,,,\n",
            ),
            Input::bytes(
                "promotions.csv",
                "product_id,store_id,display_location,mailer_location,week\n818980,309,7,0,1\n818980,309,0,A,2\n818981,309,0,0,2\n818982,309,3,D,two\n",
            ),
            Input::bytes("demographics.csv", "household_id,age\n1,65+\n"),
        ],
    );
    assert_eq!(got.column("sales", "unit_price"), ["0.5", ""]);
    assert_eq!(got.column("sales", "discount"), ["0.35", "0.0"]);
    assert_eq!(got.column("products", "attributes")[0], r#"{"manufacturer_id":"2","package_size":"22 LB"}"#);
    assert_eq!(got.column("promotions", "kind"), ["display", "mailer"]);
    assert_eq!(got.column("promotions", "ds"), ["2016-12-26T00:00:00", "2017-01-02T00:00:00"]);
    assert_eq!(got.column("promotions", "ends")[0], "2017-01-01T00:00:00");
    let promotions = &got.summary.files[2];
    assert_eq!((promotions.used, promotions.rejected, promotions.unused), (2, 1, 1));
    assert!(got.summary.files[3].skipped);
    // Who bought is personal and is never told; here nothing personal was at fault.
    assert!(got.rejects.iter().all(|r| r.value == "two"));
}

#[test]
fn tmall_listings_in_chinese() {
    let text = "\
更新日期,商品ID,标题,价格,销量,评论数,店名
2016/11/5,A1,相宜本草红景天套装,￥258.00,205288,10936,相宜本草
2016/11/7,A1,相宜本草红景天套装,￥258.00,205310,10767,相宜本草
2016/11/6,A1,相宜本草红景天套装,￥239.00,205290,10767,相宜本草
2016/11/8,A1,相宜本草红景天套装,￥239.00,205000,10767,相宜本草
2016/11/5,A2,面膜,1.2万,10,3,自然堂
2016/11/6,A2,面膜,免费,15,3,自然堂
";
    let bytes = encoding_rs::GB18030.encode(text).0.into_owned();
    let got = import("tmall-listings", &[Input::bytes("双十一.csv", bytes)]);
    assert_eq!(got.rows("prices"), 5);
    assert_eq!(got.column("prices", "seller")[0], "相宜本草");
    assert_eq!(got.column("prices", "price")[4], "12000.0");
    assert_eq!(got.told(), [(7, "价格", "免费", "not_a_number")]);
    assert_eq!(got.column("products", "title"), ["相宜本草红景天套装", "面膜"]);
    // Increases go by date, not by line; the fall on the 8th is none, and a rejected line gives nothing at all.
    assert_eq!(got.column("events", "n"), ["2.0", "20.0"]);
    assert_eq!(got.column("events", "ds"), ["2016-11-06T00:00:00", "2016-11-07T00:00:00"]);
    assert_eq!(got.column("events", "event"), ["purchase"; 2]);
}

#[test]
fn the_preset_is_proposed_from_the_header() {
    let of = |header: &str| {
        detect(&header.split(',').map(str::to_owned).collect::<Vec<_>>()).map(|p| p.name.as_str())
    };
    assert_eq!(of(RETAIL.lines().next().expect("a header")), Some("online-retail"));
    assert_eq!(of("invoice,sku,description,qty,ts,unit_price,customer_id,country"), Some("online-retail"));
    assert_eq!(of(WIDE.lines().next().expect("a header")), Some("m5"));
    assert_eq!(of(PRICES.lines().next().expect("a header")), Some("m5"));
    assert_eq!(of("Store,Dept,Date,Weekly_Sales,IsHoliday"), Some("walmart-weekly"));
    assert_eq!(of("unique_id,store,dept,ds,y,is_holiday"), Some("walmart-weekly"));
    assert_eq!(of("update_time,id,title,price,sale_count,comment_count,shop"), Some("tmall-listings"));
    assert_eq!(of("更新日期,商品ID,标题,价格,销量,评论数,店名"), Some("tmall-listings"));
    assert_eq!(
        of(
            "household_id,store_id,basket_id,product_id,quantity,sales_value,retail_disc,coupon_disc,coupon_match_disc,week,transaction_timestamp"
        ),
        Some("complete-journey")
    );
    assert_eq!(of("product_id,ds,quantity,unit_price"), Some("canonical"));
    assert!(matches!(of("unique_id,ds,y"), Some("m5" | "plain")));
    assert_eq!(of("a,b"), None);
}

#[test]
fn the_canonical_table_is_the_one_that_fits_best() {
    for (header, row, table) in [
        ("product_id,ds,price,seller", "P1,2024-01-01,3,X", "prices"),
        ("product_id,ds,quantity", "P1,2024-01-01,3", "sales"),
        ("product_id,title,price", "P1,茶,3", "products"),
        ("product_id,ds,on_hand", "P1,2024-01-01,3", "stock"),
        ("ds,event,user_id", "2024-01-01,view,u", "events"),
        ("series,ds,value", "cpi,2024-01-01,3", "market"),
        ("ds,name,kind", "2024-01-01,店庆,festival", "calendar"),
        ("ds,ends,promotion_id,kind,discount", "2024-01-01,2024-01-03,p,discount,0.1", "promotions"),
    ] {
        let got = import("canonical", &[Input::bytes("c.csv", format!("{header}\n{row}\n"))]);
        assert_eq!(got.tables.keys().copied().collect::<Vec<_>>(), [table], "{header}");
        assert_eq!(got.summary.used, 1, "{header}");
    }
}

#[test]
fn a_currency_sign_fills_the_currency() {
    let got = import(
        "canonical",
        &[Input::bytes(
            "c.csv",
            "product_id,ds,quantity,unit_price\nP1,2024-01-01,2,\"$1,000.50\"\nP2,2024-01-01,1,€3\nP3,2024-01-01,1,3\n",
        )],
    );
    assert_eq!(got.column("sales", "currency"), ["USD", "EUR", ""]);
    assert_eq!(got.column("sales", "revenue")[0], "2001.0");
}

#[test]
fn a_wrong_mapping_tells_all_its_faults() {
    let e = Mapping::from_toml(
        "bad.toml",
        "name = \"x\"\n[[table]]\ntable = \"sales\"\n[table.columns]\nsku = \"a\"\nds = { constant = \"2024-01-01\", from = \"d\" }\n[[table]]\ntable = \"orders\"\n",
    )
    .expect_err("faults");
    let text = e.to_string();
    assert!(
        text.contains("no column `sku`")
            && text.contains("`ds` takes exactly one")
            && text.contains("`orders`"),
        "{text}"
    );
    let typo = Mapping::from_toml("bad.toml", "name = \"x\"\n[[table]]\ntable = \"sales\"\ncolums = {}\n")
        .expect_err("a typo");
    assert!(typo.to_string().contains("colums"), "{typo}");
}
