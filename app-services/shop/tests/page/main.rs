//! The shop's page in a real browser: a person clicks through it, on a wide screen and on a narrow one, and is told of the order by each of the ways there are.
//!
//! `RINGWAY_PICTURES=/some/folder` keeps pictures.

mod browser;

use anyhow::{Result, ensure};
use browser::{Driver, Page};
use cluster::{PerRegion, Region, ShopPlan};
use shop_testing::person::Shop;
use shop_testing::{Catalogue, Processes};
use std::time::Duration;
use uuid::Uuid;

const CATALOGUE: Catalogue = Catalogue {
    products: 24,
    // Each of the three takes two.
    stock: 10,
};

/// Ends a test that hangs.
const BOUND: Duration = Duration::from_secs(240);
const PASSWORD: &str = "correct horse battery";
/// Whoever reads it as HTML shows something else.
const NAME: &str = "Ada <b>Example</b>";

#[tokio::test]
async fn a_person_clicks_through_the_shop() {
    // Not within the bound: cargo may have to build them.
    let (ringway, program) = (cluster::build_ringway().unwrap(), cluster::build_shop().unwrap());
    let story = async {
        let plan = ShopPlan::free(&PerRegion {
            us_east: 1,
            us_west: 1,
        })?;
        let stage = Box::pin(Processes::start(&ringway, &program, plan, CATALOGUE)).await?;
        let driver = Driver::start().await?;
        let shop = stage.addresses()?;
        for (name, width, height, region, way) in [
            ("wide", 1280, 900, Region::UsEast, Way::Socket),
            ("narrow", 400, 800, Region::UsWest, Way::Stream),
            ("asking", 1280, 900, Region::UsEast, Way::Polling),
        ] {
            let page = driver.open(name, width, height).await?;
            let clicked = Box::pin(click_through(&page, &shop, region, way)).await;
            // Whatever came of it, no browser is left behind.
            page.close().await?;
            clicked?;
        }
        Ok::<_, anyhow::Error>(())
    };
    tokio::time::timeout(BOUND, story).await.unwrap().unwrap();
}

/// How the page hears of what happens.
#[derive(Clone, Copy)]
enum Way {
    Socket,
    Stream,
    Polling,
}

impl Way {
    /// What a browser or a proxy between doesn't let through, as scripts know it.
    const fn missing(self) -> &'static [&'static str] {
        match self {
            Self::Socket => &[],
            Self::Stream => &["WebSocket"],
            Self::Polling => &["WebSocket", "EventSource"],
        }
    }

    /// What the page shows while it is in use.
    const fn shown(self) -> &'static str {
        match self {
            Self::Socket => "#live-mode[data-mode=socket]",
            Self::Stream => "#live-mode[data-mode=stream]",
            Self::Polling => "#live-mode[data-mode=polling]",
        }
    }
}

async fn click_through(page: &Page, shop: &Shop, region: Region, way: Way) -> Result<()> {
    page.go(shop.gateways.of(region)).await?;
    page.wait_until("h1", |text| !text.is_empty()).await?;
    page.take_away(way.missing()).await?;
    page.fits("home").await?;
    let email = register(page, way).await?;
    find_and_put(page).await?;
    let order = buy(page).await?;
    look_back(page, region, &order, way).await?;
    where_from(page).await?;
    let errors = page.errors().await?;
    ensure!(errors.is_empty(), "{errors:#?}");
    wrong_password(page, &email).await
}

async fn register(page: &Page, way: Way) -> Result<String> {
    page.click("#account-link").await?;
    let email = format!("{}@example.com", Uuid::now_v7().simple());
    page.fill("#register [name=name]", NAME).await?;
    page.fill("#register [name=email]", &email).await?;
    page.fill("#register [name=password]", PASSWORD).await?;
    page.fits("register").await?;
    page.click("#register button").await?;
    page.wait_until("#account-link", |text| text == "Account").await?;
    // By the gateway, with a ticket.
    page.wait(way.shown()).await?;
    page.click("#account-link").await?;
    page.wait_until("main p", |text| text == NAME).await?;
    Ok(email)
}

async fn find_and_put(page: &Page) -> Result<()> {
    page.fill("#q", "wireles keybord").await?;
    page.click("#search button").await?;
    page.wait_until("#found", |text| text.contains("look like them"))
        .await?;
    page.wait_until("main .card b", |text| text.contains("keyboard"))
        .await?;
    page.fits("search").await?;
    page.click("#facet-category a").await?;
    page.wait("#facet-category a[aria-current=true]").await?;
    page.click("main .card").await?;
    page.fill("#put [name=quantity]", "2").await?;
    page.fits("product").await?;
    page.click("#put button").await?;
    page.wait_until("#put-done", |text| text.starts_with("It is in your cart"))
        .await?;
    page.wait_until("#cart-count", |text| text == "2").await?;
    Ok(())
}

/// Checks out; gives where the order is shown.
async fn buy(page: &Page) -> Result<String> {
    page.click("nav a[href='#/cart']").await?;
    page.fill("#checkout [name=line1]", "1 Main Street").await?;
    page.fill("#checkout [name=postal_code]", "01101").await?;
    page.fill("#checkout [name=city]", "Springfield").await?;
    page.wait_until("#total", |text| text.contains('.')).await?;
    page.fits("cart").await?;
    page.click("#checkout .wide button").await?;
    page.wait("#steps li.done[data-state=placed]").await?;
    page.wait("#steps li.done[data-state=confirmed]").await?;
    let told = "#notices li[data-category=order-confirmed]";
    page.wait_until(told, |text| text.contains("Your order is confirmed"))
        .await?;
    page.fits("order").await?;
    let link = page.wait(&format!("{told} a")).await?;
    Ok(link.attr("href").await?.unwrap_or_default())
}

/// The order is in the history of both regions.
async fn look_back(page: &Page, region: Region, order: &str, way: Way) -> Result<()> {
    let listed = format!(".orders a[href='{order}']");
    page.click("nav a[href='#/orders']").await?;
    page.wait(&listed).await?;
    page.wait_until(".orders .state", |text| text == "confirmed")
        .await?;
    page.fits("orders").await?;
    let other = match region {
        Region::UsEast => Region::UsWest,
        Region::UsWest => Region::UsEast,
    };
    page.choose("#region", other.name()).await?;
    let answer = "#answers li[data-path='/api/v1/orders']";
    page.wait_until(answer, |text| text.contains(other.name()))
        .await?;
    page.wait(&listed).await?;
    page.wait_until(".orders .state", |text| text == "confirmed")
        .await?;
    page.wait(way.shown()).await?;
    page.fits("orders-elsewhere").await
}

/// A product that was just looked at comes from memory, and the page says so.
async fn where_from(page: &Page) -> Result<()> {
    page.click(".orders a").await?;
    page.click("main .lines a").await?;
    page.wait("#put").await?;
    page.wait("#shares dt.primary, #shares dt.replica").await?;
    for _ in 0..10 {
        page.click("nav a[href='#/orders']").await?;
        page.click(".orders a").await?;
        page.click("main .lines a").await?;
        page.wait("#put").await?;
        if page.wait("#shares").await?.text().await?.contains("memory") {
            return page.fits("sources").await;
        }
    }
    anyhow::bail!("nothing comes from memory: {}", page.text("#shares").await?)
}

async fn wrong_password(page: &Page, email: &str) -> Result<()> {
    page.click("#account-link").await?;
    page.click("#sign-out button").await?;
    page.wait_until("#account-link", |text| text == "Sign in").await?;
    page.click("#account-link").await?;
    page.fill("#sign-in [name=email]", email).await?;
    page.fill("#sign-in [name=password]", "not the password").await?;
    page.click("#sign-in button").await?;
    page.wait_until(".problem[role=alert] strong", |text| !text.is_empty())
        .await?;
    page.fits("problem").await?;
    let errors = page.errors().await?;
    ensure!(errors.len() == 1, "one answer was 401: {errors:#?}");
    Ok(())
}
