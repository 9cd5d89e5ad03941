//! Writes lifelike order lines as CSV, for tests of size and speed:
//! `cargo run -p tradewind-ingest --example make_orders -- ROWS SEED PATH`.
//!
//! Columns: order_id, product_id, title (Chinese or English), quantity, unit_price, currency, ds, customer_id,
//! store_id; about 65 bytes a line. Orders run through two years; products are bought unevenly, as in shops; one line
//! in fifty is a return. Equal seeds write equal bytes.

use std::fs::File;
use std::io::{BufWriter, Write};

const DAYS: u64 = 730;
const PRODUCTS: usize = 20_000;

struct Rng(u64);

impl Rng {
    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
}

/// The parts of a line that belong to a product: `P00042,红茶礼盒 42` and its price in cents.
fn catalogue(rng: &mut Rng) -> Vec<(String, u64)> {
    const ZH: [&str; 12] = [
        "红茶礼盒",
        "保温杯",
        "蓝牙耳机",
        "纯棉T恤",
        "面膜",
        "运动鞋",
        "坚果大礼包",
        "充电宝",
        "儿童绘本",
        "雨伞",
        "洗发水",
        "台灯",
    ];
    const EN: [&str; 12] = [
        "Tea box",
        "Mug",
        "Headset",
        "T-shirt",
        "Face mask",
        "Shoes",
        "Nut mix",
        "Power bank",
        "Book",
        "Umbrella",
        "Shampoo",
        "Lamp",
    ];
    (0..PRODUCTS)
        .map(|i| {
            let kind = rng.below(12) as usize;
            let name = if i % 3 == 0 { EN[kind] } else { ZH[kind] };
            (format!("P{i:05},{name} {}", i % 97), 199 + rng.below(30_000))
        })
        .collect()
}

fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (Some(rows), Some(seed), Some(path)) = (
        args.first().and_then(|a| a.parse::<u64>().ok()),
        args.get(1).and_then(|a| a.parse().ok()),
        args.get(2),
    ) else {
        return Err(std::io::Error::other("usage: make_orders ROWS SEED PATH"));
    };
    let mut rng = Rng(seed);
    let products = catalogue(&mut rng);
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    out.write_all(b"order_id,product_id,title,quantity,unit_price,currency,ds,customer_id,store_id\n")?;
    let (mut written, mut order) = (0, 100_000_000_u64);
    while written < rows {
        order += 1;
        let day = written * DAYS / rows.max(1);
        let (year, of_year) = (2023 + day / 365, day % 365);
        let (mut month, mut rest) = (0, of_year);
        for length in [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
            if rest < length {
                break;
            }
            rest -= length;
            month += 1;
        }
        let (customer, store) = (rng.below(900_000) + 100_000, rng.below(20) + 1);
        for _ in 0..=rng.below(4).min(rows - written - 1) {
            // The square of an even number between 0 and 1 makes early products far more frequent.
            let even = rng.below(1 << 20) as f64 / f64::from(1 << 20);
            let at = ((even * even * PRODUCTS as f64) as usize).min(PRODUCTS - 1);
            let (product, cents) = &products[at];
            let quantity = 1 + rng.below(3) as i64;
            let quantity = if rng.below(50) == 0 { -quantity } else { quantity };
            writeln!(
                out,
                "{order},{product},{quantity},{}.{:02},CNY,{year}-{:02}-{:02},C{customer},S{store:02}",
                cents / 100,
                cents % 100,
                month + 1,
                rest + 1
            )?;
            written += 1;
        }
    }
    out.flush()
}
