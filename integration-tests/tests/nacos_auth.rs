//! Nacos's clients where callers have to be known: what they show, how they are refused, and its interface to users,
//! roles and permissions.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;

use anyhow::Result;
use callboard_integration_tests::client::{Answer, Client, Request};
use callboard_integration_tests::grpc::{Connection, Sdk};
use callboard_integration_tests::nacos::{CONFIGS, LISTENER, NAMESPACES, asked, form, posted, record};
use callboard_integration_tests::node::{Node, NodeOptions};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

const ADMIN: [(&str, &str); 2] = [("username", "admin"), ("password", PASSWORD)];
const PASSWORD: &str = "Board-Pass-1";
const LOGIN: &str = "/nacos/v1/auth/login";
const USERS: &str = "/nacos/v1/auth/users";
const ROLES: &str = "/nacos/v1/auth/roles";
const PERMISSIONS: &str = "/nacos/v1/auth/permissions";
const LIST: [(&str, &str); 3] = [("search", "accurate"), ("pageNo", "1"), ("pageSize", "9")];
const UNKNOWN_V3: &str = "User not found! Please check user exist or password is right!";

/// A node where callers have to be known, and the administrator's token.
struct Guarded {
    node: Node,
    client: Client,
    token: String,
    _password: TempDir,
}

impl Guarded {
    async fn start() -> Result<Self> {
        let password = tempfile::tempdir()?;
        let file = password.path().join("password");
        fs::write(&file, PASSWORD)?;
        let options = NodeOptions::new().flag("auth-mode", "on");
        let node = Node::start(options.flag("auth-admin-password-file", &file.to_string_lossy())).await?;
        let client = node.client();
        let token = log_in(&client, "admin", PASSWORD).await?;
        Ok(Self { node, client, token, _password: password })
    }

    /// A request of the administrator.
    fn by_admin(&self, method: Method, path: &str, pairs: &[(&str, &str)]) -> Request {
        asked(&self.client, method, path, pairs).header("accessToken", &self.token)
    }

    async fn done(&self, method: Method, path: &str, pairs: &[(&str, &str)]) -> Result<Value> {
        self.by_admin(method, path, pairs).send().await?.expect(200)?.json()
    }

    /// Makes a user of this role, and gives his token.
    async fn user(&self, name: &str, role: &str) -> Result<String> {
        self.done(Method::POST, USERS, &[("username", name), ("password", "Secret-11")]).await?;
        self.done(Method::POST, ROLES, &[("username", name), ("role", role)]).await?;
        log_in(&self.client, name, "Secret-11").await
    }

    async fn permit(&self, role: &str, resource: &str, action: &str) -> Result<Value> {
        let pairs = [("role", role), ("resource", resource), ("action", action)];
        self.done(Method::POST, PERMISSIONS, &pairs).await
    }

    /// Publishes in a namespace that is made where it is missing.
    async fn publish(&self, tenant: &str, data_id: &str, content: &str) -> Result<()> {
        let namespace = [("customNamespaceId", tenant), ("namespaceName", tenant)];
        self.by_admin(Method::POST, NAMESPACES, &namespace).send().await?.expect(200)?;
        let pairs = [("tenant", tenant), ("dataId", data_id), ("group", "G"), ("content", content)];
        let answer = self.by_admin(Method::POST, CONFIGS, &pairs).send().await?.expect(200)?;
        assert_eq!(answer.text(), "true");
        Ok(())
    }
}

async fn log_in(client: &Client, user: &str, password: &str) -> Result<String> {
    let pairs = [("username", user), ("password", password)];
    let answer = posted(client, Method::POST, LOGIN, &pairs).send().await?.expect(200)?.json()?;
    Ok(answer["accessToken"].as_str().unwrap().to_owned())
}

#[track_caller]
fn refused(answer: &Answer, message: &str, path: &str) {
    let document = answer.json().unwrap();
    assert_eq!((answer.status, &document["message"]), (403, &json!(message)), "{path}");
    let rest = (&document["status"], &document["error"], &document["path"]);
    assert_eq!(rest, (&json!(403), &json!("Forbidden"), &json!(path)));
    assert!(document["timestamp"].as_str().unwrap().ends_with("+00:00"), "{document}");
}

#[track_caller]
fn caused(answer: &Answer, message: &str) {
    assert_eq!((answer.status, answer.text()), (400, format!("caused: {message};")));
}

/// A page of version 1 that holds everything.
fn page(rows: &Value) -> Value {
    let total = rows.as_array().unwrap().len();
    json!({ "totalCount": total, "pageNumber": 1, "pagesAvailable": 1, "pageItems": rows })
}

fn v1(text: &str) -> Value {
    json!({ "code": 200, "message": null, "data": text })
}

fn v3(data: &Value) -> Value {
    json!({ "code": 0, "message": "success", "data": data })
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_taken_in_every_way_that_nacos_takes_them() -> Result<()> {
    let guarded = Guarded::start().await?;
    let (client, token) = (&guarded.client, guarded.token.as_str());
    let content = [("dataId", "a"), ("group", "G"), ("content", "x")];
    let key = &content[..2];
    // In a form, as some SDKs publish.
    for shown in [&[("accessToken", token)][..], &ADMIN] {
        let pairs = [&content[..], shown].concat();
        posted(client, Method::POST, CONFIGS, &pairs).send().await?.expect(200)?;
    }
    let get = |pairs: &[(&str, &str)]| asked(client, Method::GET, CONFIGS, &[key, pairs].concat());
    let bearer = format!("Bearer {token}");
    let basic = "Basic YWRtaW46Qm9hcmQtUGFzcy0x";
    for (request, what) in [
        (get(&[("accessToken", token)]), "parameter"),
        (get(&ADMIN), "name and password as parameters"),
        (get(&[]).header("accessToken", token), "header"),
        (get(&[]).header("ACCESSTOKEN", token), "header in capitals"),
        (get(&[]).header("Authorization", &bearer), "bearer"),
        (get(&[]).header("Authorization", basic), "basic, which Nacos does not take"),
        (get(&[("accessToken", "rubbish")]).header("Authorization", &bearer), "bearer before parameter"),
        (get(&[]).header("username", "admin").header("password", PASSWORD), "name and password as headers"),
    ] {
        let answer = request.send().await?;
        assert_eq!((answer.status, answer.text().as_str()), (200, "x"), "{what}");
    }
    for text in [format!("bearer {token}"), token.to_owned()] {
        refused(&get(&[]).header("Authorization", &text).send().await?, "user not found!", CONFIGS);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_told_so_in_the_words_of_the_version_he_speaks() -> Result<()> {
    let guarded = Guarded::start().await?;
    let (client, token) = (&guarded.client, guarded.token.as_str());
    let (signed, tag) = token.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", tag.chars().rev().collect::<String>());
    let expired = guarded.user("ann", "nothing").await?;
    let change = [("username", "ann"), ("newPassword", "Secret-22"), ("accessToken", &expired)];
    let changed = posted(client, Method::PUT, USERS, &change).send().await?.expect(200)?;
    assert_eq!(changed.json()?, v1("update user ok!"), "one's own password, which ends what was given out");
    let ann = log_in(client, "ann", "Secret-22").await?;
    let (unknown, listened) = (format!("Code: 401, Message: {UNKNOWN_V3}."), record("a", "G", "", None));
    for (shown, old, new) in [
        (&[][..], "user not found!", unknown.as_str()),
        (&[("accessToken", "")], "user not found!", unknown.as_str()),
        (&[("username", "admin"), ("password", "wrong")], "user not found!", unknown.as_str()),
        (&[("username", "nobody"), ("password", "wrong")], "user not found!", unknown.as_str()),
        (&[("accessToken", "rubbish")], "token invalid!", "Code: 401, Message: token invalid!."),
        (&[("accessToken", &forged)], "Invalid signature", "Code: 401, Message: Invalid signature."),
        (&[("accessToken", &expired)], "token expired!", "Code: 401, Message: token expired!."),
        (&[("accessToken", &ann)], "authorization failed!", "Code: 403, Message: authorization failed!."),
    ] {
        let key = [&[("dataId", "a"), ("group", "G"), ("content", "x")][..], shown].concat();
        refused(&asked(client, Method::GET, CONFIGS, &key).send().await?, old, CONFIGS);
        refused(&posted(client, Method::POST, CONFIGS, &key).send().await?, old, CONFIGS);
        let records = [&[("Listening-Configs", listened.as_str())][..], shown].concat();
        refused(&posted(client, Method::POST, LISTENER, &records).send().await?, old, LISTENER);
        for path in ["/nacos/v3/auth/user/list", "/v3/auth/role/list"] {
            refused(&asked(client, Method::GET, path, shown).send().await?, new, path);
        }
    }
    // It comes before the check of parameters.
    refused(&asked(client, Method::GET, CONFIGS, &[("dataId", "a b")]).send().await?, "user not found!", CONFIGS);
    let other = [("username", "admin"), ("newPassword", "Secret-33"), ("accessToken", &ann)];
    refused(&posted(client, Method::PUT, USERS, &other).send().await?, "authorization failed!", USERS);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_in_works_at_every_path_and_in_every_form() -> Result<()> {
    let guarded = Guarded::start().await?;
    let client = &guarded.client;
    for (path, unknown) in [
        (LOGIN, "user not found!"),
        ("/nacos/v1/auth/users/login", "user not found!"),
        ("/nacos/v3/auth/user/login", UNKNOWN_V3),
        ("/v3/auth/user/login", UNKNOWN_V3),
    ] {
        for request in [
            asked(client, Method::POST, path, &ADMIN),
            posted(client, Method::POST, path, &ADMIN),
            posted(client, Method::POST, &format!("{path}?username=admin"), &[("password", PASSWORD)]),
        ] {
            let answer = request.send().await?.expect(200)?;
            let body = answer.json()?;
            assert_eq!((&body["globalAdmin"], &body["username"]), (&json!(true), &json!("admin")));
            assert_eq!(body["tokenTtl"], json!(18_000));
            let token = body["accessToken"].as_str().unwrap();
            assert_eq!(answer.header("Authorization"), format!("Bearer {token}"));
            asked(client, Method::GET, USERS, &[("accessToken", token)]).send().await?.expect(200)?;
        }
        for (user, password) in [("admin", "wrong"), ("nobody", PASSWORD), ("", "")] {
            let answer =
                posted(client, Method::POST, path, &[("username", user), ("password", password)]).send().await?;
            assert_eq!((answer.status, answer.text().as_str()), (403, unknown), "{path} {user}");
        }
        assert_eq!(client.get_path(path).send().await?.status, 405, "{path}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_administrator_is_made_once() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let admin = "/nacos/v1/auth/users/admin";
    let weak = posted(&client, Method::POST, admin, &[("password", "nacos")]).send().await?;
    caused(&weak, "a password has at least 8 characters");
    let made = posted(&client, Method::POST, admin, &[("password", "First-Pass1")]).send().await?.expect(200)?;
    assert_eq!(made.json()?, json!({ "username": "nacos", "password": "First-Pass1" }));
    let again = json!({ "code": 409, "message": null, "data": "have admin user cannot use it" });
    assert_eq!(posted(&client, Method::POST, admin, &[]).send().await?.expect(200)?.json()?, again);
    let again = json!({ "code": 409, "message": "have admin user cannot use it.", "data": null });
    for path in ["/nacos/v3/auth/user/admin", "/v3/auth/user/admin"] {
        assert_eq!(posted(&client, Method::POST, path, &[]).send().await?.expect(200)?.json()?, again);
    }
    let login = [("username", "nacos"), ("password", "First-Pass1")];
    let answer = posted(&client, Method::POST, LOGIN, &login).send().await?.expect(200)?.json()?;
    assert_eq!(answer["accessToken"], "AUTH_DISABLED");
    for (state, is_on) in [(state(&client).await?, "false"), (state(&Guarded::start().await?.client).await?, "true")] {
        assert_eq!((&state["auth_enabled"], &state["auth_admin_request"]), (&json!(is_on), &json!("false")));
    }
    Ok(())
}

async fn state(client: &Client) -> Result<Value> {
    client.get_path("/nacos/v1/console/server/state").send().await?.expect(200)?.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_made_up_for_a_first_administrator_without_one() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let made = node.client().request(Method::POST, "/v3/auth/user/admin").send().await?.expect(200)?.json()?;
    assert_eq!((&made["code"], &made["data"]["username"]), (&json!(0), &json!("nacos")));
    log_in(&node.client(), "nacos", made["data"]["password"].as_str().unwrap()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_kept_in_the_forms_of_version_1() -> Result<()> {
    let guarded = Guarded::start().await?;
    let ann = [("username", "ann"), ("password", "Secret-11")];
    assert_eq!(guarded.done(Method::POST, USERS, &ann).await?, v1("create user ok!"));
    let by_admin = async |method, path, pairs: &[(&str, &str)]| guarded.by_admin(method, path, pairs).send().await;
    caused(&by_admin(Method::POST, USERS, &ann).await?, "user 'ann' already exist!");
    let blank = by_admin(Method::POST, USERS, &[("username", " "), ("password", "Secret-11")]).await?;
    caused(&blank, "username is blank");
    let weak = by_admin(Method::POST, USERS, &[("username", "bob"), ("password", "short")]).await?;
    caused(&weak, "a password has at least 8 characters");
    let shown = |name: &str| json!({ "username": name, "password": "***" });
    assert_eq!(guarded.done(Method::GET, USERS, &LIST).await?, page(&json!([shown("admin"), shown("ann")])));
    let blur = [("search", "blur"), ("pageNo", "1"), ("pageSize", "9"), ("username", "an*")];
    assert_eq!(guarded.done(Method::GET, USERS, &blur).await?, page(&json!([shown("ann")])));
    let second =
        guarded.done(Method::GET, USERS, &[("search", "accurate"), ("pageNo", "2"), ("pageSize", "1")]).await?;
    assert_eq!((&second["pagesAvailable"], &second["pageItems"]), (&json!(2), &json!([shown("ann")])));
    let none = by_admin(Method::GET, USERS, &[("search", "accurate"), ("pageNo", "0"), ("pageSize", "9")]).await?;
    caused(&none, "pageNo and pageSize must be greater than zero");
    assert_eq!(guarded.done(Method::GET, &format!("{USERS}/search"), &[("username", "nn")]).await?, json!(["ann"]));
    let nobody = by_admin(Method::PUT, USERS, &[("username", "nobody"), ("newPassword", "Secret-22")]).await?;
    caused(&nobody, "user nobody not exist!");
    let changed = guarded.done(Method::PUT, USERS, &[("username", "ann"), ("newPassword", "Secret-22")]).await?;
    assert_eq!(changed, v1("update user ok!"));
    log_in(&guarded.client, "ann", "Secret-22").await?;
    for _ in 0..2 {
        assert_eq!(guarded.done(Method::DELETE, USERS, &[("username", "ann")]).await?, v1("delete user ok!"));
    }
    caused(&by_admin(Method::DELETE, USERS, &[("username", "admin")]).await?, "cannot delete admin: admin");
    let missing = by_admin(Method::DELETE, USERS, &[]).await?;
    caused(&missing, "Required request parameter 'username' for method parameter type String is not present");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_kept_in_the_forms_of_version_1() -> Result<()> {
    let guarded = Guarded::start().await?;
    guarded.done(Method::POST, USERS, &[("username", "ann"), ("password", "Secret-11")]).await?;
    let by_admin = async |method, path, pairs: &[(&str, &str)]| guarded.by_admin(method, path, pairs).send().await;
    let role = [("role", "readers"), ("username", "ann")];
    assert_eq!(guarded.done(Method::POST, ROLES, &role).await?, v1("add role ok!"));
    caused(&by_admin(Method::POST, ROLES, &role).await?, "user 'ann' already bound to the role 'readers'!");
    let nobody = by_admin(Method::POST, ROLES, &[("role", "readers"), ("username", "nobody")]).await?;
    caused(&nobody, "user 'nobody' not found!");
    for name in ["ROLE_ADMIN", "admin"] {
        let taken = by_admin(Method::POST, ROLES, &[("role", name), ("username", "ann")]).await?;
        caused(&taken, &format!("role '{name}' is not permitted to create!"));
    }
    let (admin, reader) =
        (json!({ "role": "ROLE_ADMIN", "username": "admin" }), json!({ "role": "readers", "username": "ann" }));
    assert_eq!(guarded.done(Method::GET, ROLES, &LIST).await?, page(&json!([admin, reader])));
    let of_ann = [&LIST[..], &[("username", "ann")]].concat();
    assert_eq!(guarded.done(Method::GET, ROLES, &of_ann).await?, page(&json!([reader])));
    let names = guarded.done(Method::GET, &format!("{ROLES}/search"), &[("role", "")]).await?;
    assert_eq!(names, json!(["ROLE_ADMIN", "readers"]));
    let last = [("role", "ROLE_ADMIN"), ("username", "admin")];
    caused(&by_admin(Method::DELETE, ROLES, &last).await?, "role 'ROLE_ADMIN' is not permitted to delete!");
    caused(&by_admin(Method::DELETE, ROLES, &last[..1]).await?, "role 'ROLE_ADMIN' is not permitted to delete!");
    for _ in 0..2 {
        assert_eq!(guarded.done(Method::DELETE, ROLES, &role).await?, v1("delete role of user ann ok!"));
        assert_eq!(guarded.done(Method::DELETE, ROLES, &role[..1]).await?, v1("delete role of user  ok!"));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn users_roles_and_permissions_are_kept_in_the_forms_of_version_3() -> Result<()> {
    let guarded = Guarded::start().await?;
    for prefix in ["/nacos", ""] {
        let (users, roles) = (format!("{prefix}/v3/auth/user"), format!("{prefix}/v3/auth/role"));
        let permissions = format!("{prefix}/v3/auth/permission");
        let ann = [("username", "ann"), ("password", "Secret-11")];
        assert_eq!(guarded.done(Method::POST, &users, &ann).await?, v3(&json!("create user ok!")));
        caused(&guarded.by_admin(Method::POST, &users, &ann).send().await?, "user 'ann' already exist!");
        let set = [("username", "ann"), ("newPassword", "Secret-22")];
        assert_eq!(guarded.done(Method::PUT, &users, &set).await?, v3(&json!("update user ok!")));
        let list =
            guarded.done(Method::GET, &format!("{users}/list"), &[("search", "blur"), ("username", "a*n")]).await?;
        let rows = json!([{ "username": "admin", "password": "***" }, { "username": "ann", "password": "***" }]);
        assert_eq!((&list["code"], &list["data"]["pageItems"]), (&json!(0), &rows));
        let found = guarded.done(Method::GET, &format!("{users}/search"), &[("username", "nn")]).await?;
        assert_eq!(found, v3(&json!(["ann"])));

        let role = [("role", "readers"), ("username", "ann")];
        assert_eq!(guarded.done(Method::POST, &roles, &role).await?, v3(&json!("add role ok!")));
        let list = guarded.done(Method::GET, &format!("{roles}/list"), &[("role", "readers")]).await?;
        assert_eq!(list["data"]["pageItems"], json!([{ "role": "readers", "username": "ann" }]));
        let found = guarded.done(Method::GET, &format!("{roles}/search"), &[("role", "read")]).await?;
        assert_eq!(found, v3(&json!(["readers"])));
        let admin = guarded.by_admin(Method::DELETE, &roles, &[("role", "ROLE_ADMIN"), ("username", "admin")]);
        caused(&admin.send().await?, "role 'ROLE_ADMIN' is not permitted to delete!");

        let permission = [("role", "readers"), ("resource", "public:*:*"), ("action", "r")];
        assert_eq!(guarded.done(Method::POST, &permissions, &permission).await?, v3(&json!("add permission ok!")));
        assert_eq!(guarded.done(Method::GET, &permissions, &permission).await?, v3(&json!(true)));
        let list = guarded.done(Method::GET, &format!("{permissions}/list"), &[]).await?;
        let rows = json!([{ "role": "readers", "resource": "public:*:*", "action": "r" }]);
        assert_eq!(list["data"]["pageItems"], rows);
        let removed = guarded.done(Method::DELETE, &permissions, &permission).await?;
        assert_eq!(removed, v3(&json!("delete permission ok!")));
        assert_eq!(guarded.done(Method::GET, &permissions, &permission).await?, v3(&json!(false)));
        guarded.done(Method::DELETE, &roles, &[("role", "readers")]).await?;
        assert_eq!(guarded.done(Method::DELETE, &users, &ann[..1]).await?, v3(&json!("delete user ok!")));
    }
    let lost = guarded.client.get_path("/v3/auth/nothing").send().await?.expect(404)?.json()?;
    assert_eq!((&lost["status"], &lost["path"]), (&json!(404), &json!("/v3/auth/nothing")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_are_listed_as_they_were_added() -> Result<()> {
    let guarded = Guarded::start().await?;
    guarded.user("ann", "readers").await?;
    let rows = [("dev:*:*", "r"), (":G:config/a.*", "rw"), ("prod:G:*", "w")];
    for (resource, action) in rows {
        for _ in 0..2 {
            assert_eq!(guarded.permit("readers", resource, action).await?, v1("add permission ok!"));
        }
    }
    let list = [("search", "accurate"), ("pageNo", "1"), ("pageSize", "9"), ("role", "readers")];
    let listed = guarded.done(Method::GET, PERMISSIONS, &list).await?;
    let row = |(resource, action)| json!({ "role": "readers", "resource": resource, "action": action });
    assert_eq!(listed["pageItems"], json!(rows.map(row)));
    // Two letters for one resource are one row.
    guarded.permit("readers", "dev:*:*", "w").await?;
    let listed = guarded.done(Method::GET, PERMISSIONS, &list).await?;
    assert_eq!(listed["pageItems"][0], row(("dev:*:*", "rw")));
    for (action, is_there) in [("r", true), ("rw", true)] {
        let pairs = [("role", "readers"), ("resource", "dev:*:*"), ("action", action)];
        assert_eq!(guarded.done(Method::GET, PERMISSIONS, &pairs).await?, v3(&json!(is_there)));
    }
    for (role, resource, action, text) in [
        ("nothing", "dev:*:*", "r", "role nothing not found!"),
        ("admin", "dev:*:*", "r", "role admin not found!"),
        ("ROLE_ADMIN", "dev:*:*", "r", "role 'ROLE_ADMIN' may do everything and is not permitted to change!"),
        (
            "readers",
            "console/users",
            "r",
            "the resource must be namespace:group:config/dataId or namespace:group:*, each part a name or a pattern",
        ),
        ("readers", "dev:*:*", "x", "the action must be r, w or rw"),
    ] {
        let pairs = [("role", role), ("resource", resource), ("action", action)];
        caused(&guarded.by_admin(Method::POST, PERMISSIONS, &pairs).send().await?, text);
        if role != "ROLE_ADMIN" {
            assert_eq!(guarded.done(Method::DELETE, PERMISSIONS, &pairs).await?, v1("delete permission ok!"));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_to_read_a_namespace_is_for_that_and_nothing_else() -> Result<()> {
    let guarded = Guarded::start().await?;
    guarded.publish("dev", "a", "x").await?;
    guarded.publish("prod", "a", "y").await?;
    let ann = guarded.user("ann", "readers").await?;
    guarded.permit("readers", "dev:*:*", "r").await?;
    let client = &guarded.client;
    let by_ann = |method: Method, path: &str, pairs: &[(&str, &str)]| {
        posted(client, method, &format!("{path}?{}", form(&[("accessToken", &ann)])), pairs)
    };
    let get = |tenant: &str, more: &str| {
        let key = [("tenant", tenant), ("dataId", "a"), ("group", "G"), ("accessToken", &ann)];
        client.get_path(&format!("{CONFIGS}?{}{more}", form(&key)))
    };
    assert_eq!(get("dev", "").send().await?.expect(200)?.text(), "x");
    assert_eq!(get("dev", "&show=all").send().await?.expect(200)?.json()?["content"], "x");
    let search = "&search=accurate&pageNo=1&pageSize=9";
    assert_eq!(get("dev", search).send().await?.expect(200)?.json()?["totalCount"], 1);
    let records = record("a", "G", "", Some("dev"));
    let heard = by_ann(Method::POST, LISTENER, &[("Listening-Configs", &records)]).send().await?.expect(200)?;
    assert_eq!(heard.text(), "a%02G%02dev%01\n");
    let seen = client.get_path(&format!("{NAMESPACES}?accessToken={ann}")).send().await?.expect(200)?.json()?;
    assert_eq!(seen["data"].as_array().unwrap().len(), 1, "{seen}");

    let no = "authorization failed!";
    for more in ["", "&show=all", search] {
        refused(&get("prod", more).send().await?, no, CONFIGS);
        refused(&get("", more).send().await?, no, CONFIGS);
    }
    for tenant in [Some("prod"), None] {
        let records = format!("{records}{}", record("a", "G", "", tenant));
        refused(&by_ann(Method::POST, LISTENER, &[("Listening-Configs", &records)]).send().await?, no, LISTENER);
    }
    let publish = [("tenant", "dev"), ("dataId", "a"), ("group", "G"), ("content", "z")];
    refused(&by_ann(Method::POST, CONFIGS, &publish).send().await?, no, CONFIGS);
    refused(&by_ann(Method::DELETE, CONFIGS, &publish[..3]).send().await?, no, CONFIGS);
    let namespace = [("customNamespaceId", "new"), ("namespaceName", "new")];
    refused(&by_ann(Method::POST, NAMESPACES, &namespace).send().await?, no, NAMESPACES);
    for path in [USERS, ROLES, PERMISSIONS, "/nacos/v1/core/cluster/nodes"] {
        refused(&client.get_path(&format!("{path}?accessToken={ann}")).send().await?, no, path);
    }
    refused(&by_ann(Method::POST, ROLES, &[("role", "mine"), ("username", "ann")]).send().await?, no, ROLES);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_over_grpc_are_refused_in_the_class_that_they_wait_for() -> Result<()> {
    let guarded = Guarded::start().await?;
    guarded.publish("dev", "a", "x").await?;
    let ann = guarded.user("ann", "readers").await?;
    guarded.permit("readers", "dev:*:*", "r").await?;
    let mut connection = Connection::of(Sdk::Java, guarded.node.grpc_address()).await?;
    let key = json!({ "dataId": "a", "group": "G", "tenant": "dev" });
    let publish = json!({ "dataId": "a", "group": "G", "tenant": "dev", "content": "z" });
    let listen = json!({ "listen": true, "configListenContexts": [{ "dataId": "a", "group": "G", "tenant": "dev", "md5": "" }] });
    let query = ("ConfigQueryRequest", "ConfigQueryResponse", &key);
    let bearer = format!("Bearer {ann}");
    for (headers, (class, answer, body), message) in [
        (&[][..], query, "user not found!"),
        (&[("accessToken", "rubbish")], query, "token invalid!"),
        (&[("username", "ann"), ("password", "wrong")], query, "user not found!"),
        (&[], ("ConfigBatchListenRequest", "ConfigChangeBatchListenResponse", &listen), "user not found!"),
        (
            &[("accessToken", &ann)],
            ("ConfigPublishRequest", "ConfigPublishResponse", &publish),
            "authorization failed!",
        ),
        (&[("accessToken", &ann)], ("ConfigRemoveRequest", "ConfigRemoveResponse", &key), "authorization failed!"),
    ] {
        let refused = connection.ask_showing(headers, class, body).await?;
        assert_eq!((refused.class.as_str(), refused.refusal()?), (answer, 403), "{refused:?}");
        assert_eq!(refused.body["message"], message);
        if class == "ConfigBatchListenRequest" {
            assert_eq!(refused.body["changedConfigs"], json!([]));
        }
    }
    for headers in [
        &[("accessToken", ann.as_str())][..],
        &[("Authorization", &bearer)],
        &[("username", "ann"), ("password", "Secret-11")],
    ] {
        let answer = connection.ask_showing(headers, "ConfigQueryRequest", &key).await?;
        assert_eq!((answer.is_good(), &answer.body["content"]), (true, &json!("x")), "{answer:?}");
        let answer = connection.ask_showing(headers, "ConfigBatchListenRequest", &listen).await?;
        assert!(answer.is_good(), "{answer:?}");
    }
    connection.check().await?;
    Ok(())
}
