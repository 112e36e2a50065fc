//! The rows of the shop, each a pure function of the seed and the row's number.
//!
//! An order is computed anew wherever it is needed (as an order, for its items, its payment, its
//! shipment): nothing is kept, and all tables agree.

use super::random::{Popularity, Random};
use super::row::{Cents, Date, Moment, Row};
use super::words;
use super::{Scale, Table};

/// 2024-01-01: the first order.
const OPENING: Moment = Moment(1_704_067_200);
/// Two years of orders.
const TRADING_SECONDS: u64 = 2 * 365 * 86_400;
/// How many items the orders of a group of ten have: three on average, and so exactly three times
/// as many items as orders.
const ITEMS_PER_ORDER: [u64; 10] = [1, 1, 2, 2, 2, 3, 3, 4, 5, 7];

/// Makes rows. Holds only the popularity tables: eight bytes for each user and product.
#[derive(Clone, Debug)]
pub(super) struct Generator {
    seed: u64,
    scale: Scale,
    users: Popularity,
    products: Popularity,
}

/// What several tables say about one order.
struct Order {
    id: u64,
    user: u64,
    status: &'static str,
    placed_at: Moment,
    items: Vec<Item>,
}

struct Item {
    product: u64,
    quantity: u64,
    price: Cents,
}

impl Order {
    fn total(&self) -> Cents {
        Cents(self.items.iter().map(|item| item.quantity * item.price.0).sum())
    }

    fn was_shipped(&self) -> bool {
        matches!(self.status, "shipped" | "delivered" | "returned")
    }
}

impl Generator {
    pub(super) fn new(seed: u64, scale: Scale) -> Self {
        Self {
            seed,
            scale,
            users: Popularity::new(scale.users, 0.8, 10.0),
            products: Popularity::new(scale.products, 1.0, 5.0),
        }
    }

    fn random(&self, table: Table, row: u64) -> Random {
        Random::for_row(self.seed, table as u64, row)
    }

    /// Appends what the `unit`-th thing (category, product, user or order) contributes to a table:
    /// no, one or several rows.
    pub(super) fn write(&self, table: Table, unit: u64, buffer: &mut String) {
        match table {
            Table::Categories => category(unit, buffer),
            Table::Products => self.product(unit + 1, buffer),
            Table::Inventory => self.inventory(unit + 1, buffer),
            Table::Users => self.user(unit + 1, buffer),
            Table::Orders => self.order_row(&self.order(unit), buffer),
            Table::OrderItems => items(&self.order(unit), buffer),
            Table::Payments => self.payment(&self.order(unit), buffer),
            Table::Shipments => self.shipment(&self.order(unit), buffer),
            Table::Reviews => self.review(&self.order(unit), buffer),
        }
    }

    fn user(&self, id: u64, buffer: &mut String) {
        let mut random = self.random(Table::Users, id);
        let (first, last) = (random.pick(words::FIRST_NAMES), random.pick(words::LAST_NAMES));
        let name = format!("{first} {last}");
        let mail: String = name
            .to_lowercase()
            .chars()
            .filter(char::is_ascii_alphabetic)
            .collect();
        let language = random.pick(words::LANGUAGES);
        let preferences = format!(
            r#"{{"language": "{language}", "newsletter": {}, "theme": "{}"}}"#,
            random.percent(40),
            random.pick(&["light", "dark"]),
        );
        // Born between 1950 and 2005; registered within the two years before the opening.
        let birth = random
            .percent(90)
            .then(|| Date(random.below(55 * 365)))
            .map(|day| birth_date(day.0));
        let registered = Moment(OPENING.0 - random.below(TRADING_SECONDS));
        Row::new(buffer)
            .plain(id)
            .text(&format!("{mail}{id}@example.com"))
            .text(&name)
            .plain(random.pick(words::COUNTRIES))
            .maybe(birth)
            .flag(random.percent(5))
            .plain(Cents(if random.percent(30) {
                random.below(50_000)
            } else {
                0
            }))
            .plain(random.uuid())
            .text(&preferences)
            .plain(registered)
            .end();
    }

    fn price(&self, product: u64) -> Cents {
        let mut random = self.random(Table::Products, product);
        // Cheap things are many: the square of a uniform number leans to its low end.
        let unit = random.unit();
        Cents(199 + (unit * unit * 40_000.0) as u64 / 50 * 50)
    }

    fn product(&self, id: u64, buffer: &mut String) {
        let mut random = self.random(Table::Products, id).clone();
        // The price took the first number.
        random.next();
        let categories = category_count();
        let departments = words::DEPARTMENTS.len() as u64;
        let category = departments + random.below(categories - departments);
        let thing = category_name(category);
        let (adjective, material) = (random.pick(words::ADJECTIVES), random.pick(words::MATERIALS));
        let colour = random.pick(words::COLOURS);
        let weight = random.percent(85).then(|| random.between(1, 400) as f64 / 16.0);
        let attributes = format!(
            r#"{{"color": "{colour}", "material": "{material}", "size_cm": [{}, {}]}}"#,
            random.between(1, 120),
            random.between(1, 120),
        );
        Row::new(buffer)
            .plain(id)
            .plain(category + 1)
            .plain(format_args!("{}-{id:05}", sku_prefix(thing)))
            .text(&format!("{adjective} {material} {}", thing.to_lowercase()))
            .plain(self.price(id))
            .maybe(weight)
            .text(&attributes)
            .flag(random.percent(96))
            .plain(Moment(OPENING.0 - random.below(TRADING_SECONDS)))
            .end();
    }

    fn inventory(&self, product: u64, buffer: &mut String) {
        let mut random = self.random(Table::Inventory, product);
        let on_hand = if random.percent(7) {
            0
        } else {
            random.between(1, 500)
        };
        Row::new(buffer)
            .plain(product)
            .plain(random.pick(words::WAREHOUSES))
            .plain(on_hand)
            .plain(random.below(on_hand / 10 + 1))
            .plain(OPENING.plus(TRADING_SECONDS + random.below(86_400)))
            .end();
    }

    /// The order with this number, counted from 0 in the order of time.
    fn order(&self, number: u64) -> Order {
        let mut random = self.random(Table::Orders, number);
        let step = TRADING_SECONDS / self.scale.orders.max(1);
        let placed_at = OPENING.plus(number * step + random.below(step.max(1)));
        let group = ITEMS_PER_ORDER.len() as u64;
        let turn = self.random(Table::OrderItems, number / group).below(group);
        let index = ((number + turn) % group) as usize;
        let count = ITEMS_PER_ORDER.get(index).copied().unwrap_or(1);
        let user = self.users.pick(&mut random);
        let status = self.status(number, &mut random);
        let items = (0..count).map(|_| self.item(&mut random)).collect();
        Order {
            id: number + 1,
            user,
            status,
            placed_at,
            items,
        }
    }

    fn status(&self, number: u64, random: &mut Random) -> &'static str {
        let recent = number * 100 >= self.scale.orders * 97;
        match (recent, random.below(100)) {
            (true, 0..30) => "pending",
            (true, 30..60) => "paid",
            (true, 60..95) => "shipped",
            (false, 0..91) => "delivered",
            (false, 91..94) => "returned",
            _ => "cancelled",
        }
    }

    fn item(&self, random: &mut Random) -> Item {
        let product = self.products.pick(random);
        let quantity = if random.percent(80) {
            1
        } else {
            random.between(2, 5)
        };
        Item {
            product,
            quantity,
            price: self.price(product),
        }
    }

    fn order_row(&self, order: &Order, buffer: &mut String) {
        let mut random = self.random(Table::Shipments, order.id);
        let note = random.percent(8).then(|| random.pick(words::NOTES));
        Row::new(buffer)
            .plain(order.user)
            .plain(order.id)
            .plain(order.status)
            .plain(order.total())
            .plain("USD")
            .plain(order.placed_at)
            .maybe(note)
            .end();
    }

    fn payment(&self, order: &Order, buffer: &mut String) {
        let state = match order.status {
            "pending" | "cancelled" => return,
            "paid" => "authorized",
            "returned" => "refunded",
            _ => "captured",
        };
        let mut random = self.random(Table::Payments, order.id);
        let method = random.pick(&["card", "card", "card", "paypal", "transfer"]);
        let card = (method == "card").then(|| format!("{:04}", random.below(10_000)));
        Row::new(buffer)
            .plain(order.user)
            .plain(order.id)
            .plain(order.id)
            .plain(order.total())
            .plain(method)
            .plain(state)
            .maybe(card)
            .plain(order.placed_at.plus(random.between(5, 900)))
            .end();
    }

    fn shipment(&self, order: &Order, buffer: &mut String) {
        if !order.was_shipped() {
            return;
        }
        let mut random = self.random(Table::Shipments, order.id);
        let shipped = order.placed_at.plus(random.between(3_600, 3 * 86_400));
        let delivered =
            (order.status != "shipped").then(|| shipped.plus(random.between(1, 9) * 86_400).date());
        Row::new(buffer)
            .plain(order.user)
            .plain(order.id)
            .plain(order.id)
            .plain(random.pick(words::CARRIERS))
            .plain(random.uuid())
            .plain(shipped)
            .maybe(delivered)
            .end();
    }

    /// Some reviews of what was delivered, each of the order's first item.
    fn review(&self, order: &Order, buffer: &mut String) {
        let mut random = self.random(Table::Reviews, order.id);
        let Some(item) = order.items.first() else { return };
        if order.status != "delivered" || !random.percent(20) {
            return;
        }
        let rating = random.pick(&["5", "5", "5", "5", "4", "4", "4", "3", "2", "1"]);
        let titles = if rating < "3" { words::BLAME } else { words::PRAISE };
        let body = random.percent(60).then(|| random.pick(words::BODIES));
        Row::new(buffer)
            .plain(order.user)
            .plain(order.id)
            .plain(item.product)
            .plain(rating)
            .text(random.pick(titles))
            .maybe(body)
            .plain(order.placed_at.plus(random.between(10, 40) * 86_400))
            .end();
    }
}

/// A day between 1950 and 2005 as a date; `Date` itself begins in 1970.
fn birth_date(days_after_1950: u64) -> String {
    /// Seven leap cycles of four years: the calendar repeats itself within this century and the last.
    const CYCLE_YEARS: u64 = 28;
    const CYCLE_DAYS: u64 = 10_227;
    // 1978-01-01 is one cycle after 1950-01-01.
    let shifted = Date(2_922 + days_after_1950).to_string();
    let (year, rest) = shifted.split_at(4);
    let year: u64 = year.parse().unwrap_or(1978);
    debug_assert_eq!(CYCLE_DAYS, CYCLE_YEARS * 365 + CYCLE_YEARS / 4);
    format!("{}{rest}", year - CYCLE_YEARS)
}

fn items(order: &Order, buffer: &mut String) {
    for (index, item) in order.items.iter().enumerate() {
        Row::new(buffer)
            .plain(order.user)
            .plain(order.id)
            .plain(index + 1)
            .plain(item.product)
            .plain(item.quantity)
            .plain(item.price)
            .end();
    }
}

/// Departments first, then the categories of each.
pub(super) fn category_count() -> u64 {
    words::DEPARTMENTS
        .iter()
        .map(|(_, inner)| 1 + inner.len() as u64)
        .sum()
}

fn category_name(index: u64) -> &'static str {
    let departments = words::DEPARTMENTS.iter().map(|(name, _)| *name);
    let inner = words::DEPARTMENTS
        .iter()
        .flat_map(|(_, inner)| inner.iter().copied());
    departments.chain(inner).nth(index as usize).unwrap_or_default()
}

fn category(index: u64, buffer: &mut String) {
    let departments = words::DEPARTMENTS.len() as u64;
    let parents = words::DEPARTMENTS
        .iter()
        .enumerate()
        .flat_map(|(at, (_, inner))| inner.iter().map(move |_| at + 1));
    let parent = index
        .checked_sub(departments)
        .and_then(|inner| parents.clone().nth(inner as usize));
    Row::new(buffer)
        .plain(index + 1)
        .text(category_name(index))
        .maybe(parent)
        .end();
}

fn sku_prefix(thing: &str) -> String {
    thing
        .chars()
        .filter(char::is_ascii_alphabetic)
        .take(3)
        .collect::<String>()
        .to_uppercase()
}
