//! A server with the three routes that the generator asks, in a thread of the test: stores, answers and holds in
//! memory, honestly or not. Owns its thread and its port; both are gone when it is dropped.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, web};
use callboard_protocol::content::Md5;
use tokio::sync::watch;

/// How a server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As it should.
    Honest,
    /// Contents come back with another last letter.
    AnswersWrongly,
    /// Says `true` to publishes and keeps the first few only.
    DropsPublishes,
    /// Answers publishes with 503.
    RefusesPublishes,
    /// Holds polls and never answers them.
    NeverTells,
    /// Answers every poll at once with "nothing changed".
    HoldsNothing,
}

type Form = HashMap<String, String>;

#[derive(Debug)]
struct State {
    manner: Manner,
    stored: Mutex<HashMap<String, String>>,
    publishes: watch::Sender<u64>,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    /// Starts it on a free port.
    pub(crate) fn start(manner: Manner) -> Self {
        let (started, start) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let state = State { manner, stored: Mutex::default(), publishes: watch::Sender::default() };
            let state = web::Data::from(Arc::new(state));
            actix_rt::System::new().block_on(async move {
                let server = HttpServer::new(move || {
                    App::new()
                        .app_data(state.clone())
                        .route("/nacos/v1/cs/configs", web::get().to(read))
                        .route("/nacos/v1/cs/configs", web::post().to(publish))
                        .route("/nacos/v1/cs/configs/listener", web::post().to(poll))
                });
                let server = server.workers(1).disable_signals().bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                let address = server.addrs()[0];
                let server = server.run();
                started.send((address, server.handle())).unwrap();
                server.await.unwrap();
            });
        });
        let (address, handle) = start.recv().unwrap();
        Self { address, handle, thread: Some(thread) }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        actix_rt::System::new().block_on(self.handle.stop(false));
        self.thread.take().unwrap().join().unwrap();
    }
}

fn key(data_id: &str, group: &str, tenant: &str) -> String {
    format!("{data_id}/{group}/{tenant}")
}

fn key_of(form: &Form) -> String {
    key(&form["dataId"], &form["group"], form.get("tenant").map_or("", String::as_str))
}

async fn read(state: web::Data<State>, query: web::Query<Form>) -> HttpResponse {
    let Some(mut content) = state.stored.lock().unwrap().get(&key_of(&query)).cloned() else {
        return HttpResponse::NotFound().body("config data not exist\n");
    };
    if state.manner == Manner::AnswersWrongly {
        content.pop();
        content.push('_');
    }
    HttpResponse::Ok().body(content)
}

async fn publish(state: web::Data<State>, form: web::Form<Form>) -> HttpResponse {
    if state.manner == Manner::RefusesPublishes {
        return HttpResponse::ServiceUnavailable().body("not now");
    }
    if state.manner != Manner::DropsPublishes || *state.publishes.borrow() < 20 {
        state.stored.lock().unwrap().insert(key_of(&form), form["content"].clone());
    }
    state.publishes.send_modify(|count| *count += 1);
    HttpResponse::Ok().body("true")
}

async fn poll(state: web::Data<State>, form: web::Form<Form>) -> HttpResponse {
    let record = form["Listening-Configs"].strip_suffix('\x01').unwrap();
    let fields: Vec<&str> = record.split('\x02').collect();
    let (data_id, group, md5) = (fields[0], fields[1], fields[2]);
    let key = key(data_id, group, fields.get(3).unwrap_or(&""));
    let mut publishes = state.publishes.subscribe();
    loop {
        let present = Md5::of(state.stored.lock().unwrap()[&key].as_bytes()).to_string();
        if present != md5 && state.manner != Manner::NeverTells {
            return HttpResponse::Ok().body(format!("{data_id}%02{group}%01\n"));
        }
        let change = tokio::time::timeout(Duration::from_millis(29_500), publishes.changed());
        if state.manner == Manner::HoldsNothing || !matches!(change.await, Ok(Ok(()))) {
            return HttpResponse::Ok().finish();
        }
    }
}
