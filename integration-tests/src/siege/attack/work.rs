//! Questions that are short to ask and long to answer.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::json;

use super::super::besieged::one_of_many;
use super::super::sessions::{GROUP, key, open};
use super::super::target::{Door, Target};
use super::swarm;
use crate::grpc::{Connection, Sdk};
use crate::session::framed;

/// Keys that one session may watch.
const WATCHES: usize = 900;

/// Searches of the native interface that find nothing.
pub(in super::super) fn searches(target: Arc<Target>) -> BoxFuture<'static, ()> {
    asking(target, 32, |_| "/api/v1/namespaces/public/configs?q=zzz".to_owned())
}

/// Searches of Nacos's by patterns that fit nothing, which are counted before they are read.
pub(in super::super) fn patterns(target: Arc<Target>) -> BoxFuture<'static, ()> {
    asking(target, 32, |_| "/nacos/v1/cs/configs?search=blur&dataId=*z*z*&group=*&pageNo=1&pageSize=100".to_owned())
}

fn asking(
    target: Arc<Target>,
    attackers: usize,
    path: impl Fn(usize) -> String + Clone + Send + 'static,
) -> BoxFuture<'static, ()> {
    Box::pin(swarm(target, attackers, move |target, attacker| {
        let request = target.head(attacker, &format!("GET {}", path(attacker))) + "\r\n";
        async move {
            let mut line = target.connect(Door::Http).await?;
            loop {
                line.send(request.as_bytes()).await?;
                line.answer().await?;
            }
        }
    }))
}

/// Connections of Nacos's clients that listen to everything, and go.
pub(in super::super) fn listeners(target: Arc<Target>) -> BoxFuture<'static, ()> {
    let contexts = (0..target.stored)
        .map(|number| json!({ "dataId": one_of_many(number), "group": GROUP, "tenant": "", "md5": "" }));
    let body = Arc::new(json!({ "listen": true, "configListenContexts": contexts.collect::<Vec<_>>() }));
    Box::pin(swarm(target, 8, move |target, attacker| {
        let body = Arc::clone(&body);
        async move {
            let connection = Connection::over(target.connect(Door::Grpc).await?).await?;
            let mut connection = connection.begin(Sdk::Java).await?;
            let shown: Vec<_> = target.token_of(attacker).map(|token| ("accessToken", token)).into_iter().collect();
            connection.ask_showing(&shown, "ConfigBatchListenRequest", &body).await?;
            Ok(())
        }
    }))
}

/// Sessions that watch everything, by names and by a beginning, and go.
pub(in super::super) fn watchers(target: Arc<Target>) -> BoxFuture<'static, ()> {
    use callboard_proto::session::envelope::Kind;
    use callboard_proto::session::{Prefix, Watch};
    let beginning = Prefix { namespace: String::new(), group: GROUP.to_owned(), prefix: "one-".to_owned() };
    let keys = (0..WATCHES).map(|number| key(&one_of_many(number))).collect();
    let watch: Arc<[u8]> = framed(2, Kind::Watch(Watch { keys, prefixes: vec![beginning] })).into();
    Box::pin(swarm(target, 8, move |target, attacker| {
        let watch = Arc::clone(&watch);
        async move {
            let mut line = open(&target, attacker).await?;
            line.send(&watch).await?;
            // The first of what there is: the node has looked.
            line.read_some().await
        }
    }))
}

/// Event streams over everything, which their readers leave at once.
pub(in super::super) fn streams(target: Arc<Target>) -> BoxFuture<'static, ()> {
    Box::pin(swarm(target, 8, |target, attacker| async move {
        let mut line = target.connect_narrow(Door::Http).await?;
        let head = target.head(attacker, &format!("GET /api/v1/watch?group={GROUP}&prefix=one-"));
        line.send(format!("{head}\r\n").as_bytes()).await?;
        line.read_some().await
    }))
}

/// Wrong passwords of many users. Where nobody has to be known, the node refuses at once.
pub(in super::super) fn log_ins(target: Arc<Target>) -> BoxFuture<'static, ()> {
    Box::pin(swarm(target, 64, |target, attacker| async move {
        let mut line = target.connect(Door::Http).await?;
        for number in 0_u64.. {
            let body = json!({ "user": format!("user-{attacker}-{number}"), "password": "a guess" }).to_string();
            let head = target.head(1, "POST /api/v1/auth/login");
            let length = body.len();
            line.send(
                format!("{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes(),
            )
            .await?;
            line.answer().await?;
        }
        Ok(())
    }))
}
