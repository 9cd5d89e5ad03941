//! The layers around handlers that do what no route should.

use super::domain::Domain;
use super::door::{Door, Limits};
use super::state::Server;
use super::table::Routes;
use super::{router, routes};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use metrics_exporter_prometheus::PrometheusBuilder;
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt;
use tradewind::event_log::ShopClock;
use tradewind::ops::access::{Access, NewKey, Role, Scopes};
use tradewind::ops::jobs::Jobs;
use tradewind::ops::registry::{Registry, Store};
use tradewind::ops::traffic::Traffic;
use tradewind::ops::{Clock, Database};
use tradewind::warehouse::Settings;
use utoipa_axum::routes;

#[utoipa::path(get, path = "/test/panic", responses((status = 200, description = "never")))]
async fn panicking() -> &'static str {
    panic!("as a test wants it")
}

#[utoipa::path(get, path = "/test/slow", responses((status = 200, description = "after a minute")))]
async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_secs(60)).await;
    "late"
}

/// A server with the routes above, and an admin's key.
async fn server(places: usize) -> (Server, Router, String) {
    let database = Database::open("sqlite::memory:", Clock::system()).await.unwrap();
    let access = Access::open(database.clone()).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("registry").display().to_string()).unwrap();
    let registry = Registry::open(database.clone(), store).await.unwrap();
    let traffic = Traffic::open(database.clone());
    let jobs = Jobs::new(database, dir.path().join("jobs"));
    let new = NewKey { name: "test".into(), role: Role::Admin, scopes: Scopes::All, expires_ms: None };
    let (_, secret) = access.create_key("local:test", new).await.unwrap();
    let mut settings = Settings::defaults().serve;
    settings.requests_at_once_max = places;
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    let server = Server::new(
        settings,
        access,
        None,
        registry,
        jobs,
        traffic,
        metrics,
        String::new(),
        Arc::new(Domain::new(None, ShopClock::UTC)),
    );
    let limits = Limits { time: Some(Duration::from_millis(200)), ..Limits::USUAL };
    let door = Door::Key(Role::Viewer, None);
    let all: Routes = routes::all(true).at(door, routes!(panicking)).limited(door, limits, routes!(slow));
    let router = router(&server, all);
    (server, router, secret.expose().to_owned())
}

async fn ask(router: &Router, path: &str, key: &str) -> (StatusCode, serde_json::Value) {
    let request = Request::get(path).header("x-api-key", key).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_and_a_slow_handler_are_problems() {
    let (_, router, key) = server(8).await;
    let (status, problem) = ask(&router, "/test/panic", &key).await;
    assert_eq!((status.as_u16(), problem["code"].as_str()), (500, Some("internal")));
    assert!(!problem.to_string().contains("as a test wants it"), "{problem}");
    assert!(problem["request_id"].is_string());
    let (status, problem) = ask(&router, "/test/slow", &key).await;
    assert_eq!((status.as_u16(), problem["code"].as_str()), (504, Some("timed_out")));
    // The server goes on.
    assert_eq!(ask(&router, "/v1/me", &key).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_its_places_it_says_so_at_once() {
    let (server, router, key) = server(1).await;
    ask(&router, "/v1/me", &key).await;
    let place = server.places.try_acquire().unwrap();
    let (status, problem) = ask(&router, "/v1/me", &key).await;
    assert_eq!((status.as_u16(), problem["code"].as_str()), (503, Some("overloaded")));
    // Probes are answered all the same.
    assert_eq!(ask(&router, "/livez", "").await.0, StatusCode::OK);
    drop(place);
    assert_eq!(ask(&router, "/v1/me", &key).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_its_conditions_and_the_end() {
    let (server, router, _) = server(8).await;
    assert_eq!(ask(&router, "/readyz", "").await.0.as_u16(), 503, "the state has not answered yet");
    assert_eq!(ask(&router, "/startupz", "").await.0.as_u16(), 503);
    server.readiness.state_answered();
    server.readiness.set("models", false);
    let (status, told) = ask(&router, "/readyz", "").await;
    assert_eq!((status.as_u16(), &told["conditions"]["models"]), (503, &serde_json::json!(false)));
    server.readiness.set("models", true);
    for path in ["/readyz", "/startupz", "/ping"] {
        assert_eq!(ask(&router, path, "").await.0.as_u16(), 200, "{path}");
    }
    server.readiness.drain();
    assert_eq!(ask(&router, "/readyz", "").await.0.as_u16(), 503);
    assert_eq!(ask(&router, "/startupz", "").await.0.as_u16(), 200);
    assert_eq!(ask(&router, "/livez", "").await.0.as_u16(), 200);
}
