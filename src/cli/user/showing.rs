//! What `latchkey user` prints of users: a table, one of them, what opens for it.

use anyhow::Result;
use serde_json::{Value, json};

use super::super::operator::Operator;
use super::super::{output, usage};
use crate::auth::{AccessCell, mfa_state};
use crate::model::{AccessPoint, CustomerHandle, MfaState, Permission, UserName};
use crate::store::UserRecord;

pub(super) fn list(operator: &Operator, customer: Option<&CustomerHandle>, json: bool) -> Result<()> {
    let users = operator.run(operator.control.users(customer))?;
    if json {
        return output::data(&users.iter().map(as_json).collect::<Value>().to_string());
    }
    let rows = users.iter().map(|user| {
        [
            user.name.to_string(),
            rights(user),
            user.access_points.to_string(),
            mfa_word(user).to_owned(),
            String::from(if user.active { "active" } else { "deactivated" }),
        ]
    });
    output::table(["USER", "RIGHTS", "ACCESS", "MFA", "STATE"], rows.collect())
}

pub(super) fn show(operator: &Operator, name: &UserName, json: bool) -> Result<()> {
    let user = operator.run(operator.control.user(name))?;
    let done = operator.run(operator.control.usage_of_user(name))?;
    if json {
        let mut shown = as_json(&user);
        if let Some(members) = shown.as_object_mut() {
            members.insert(String::from("usage"), usage::as_json(&done));
            members.insert(String::from("password_last_used"), usage::password_uses_as_json(&done));
        }
        return output::data(&shown.to_string());
    }
    let keys = operator.run(operator.control.list_keys(Some(name)))?.len();
    let password = match (&user.password_hash, user.password_off_by_key) {
        (None, _) => "none",
        (Some(_), true) => "set; off at the API, because a key exists or existed",
        (Some(_), false) => "set",
    };
    output::data(&format!(
        "user        {}\nname        {}\ne-mail      {}\nrights      {}\naccess      {}\nMFA         {}\n\
         password    {password}\nkeys        {keys}\nstate       {}\nallow-list  {}\ncreated     {}",
        user.name,
        output::or_dash(&user.full_name),
        output::or_dash(&user.email),
        rights(&user),
        user.access_points,
        mfa_word(&user),
        if user.active { "active" } else { "deactivated" },
        output::or_dash(&user.allow_list.to_string()),
        user.created_at,
    ))?;
    for (place, entrance) in
        [("console", AccessPoint::Console), ("api", AccessPoint::Api), ("isproxy", AccessPoint::IsProxy)]
    {
        let name = if entrance == AccessPoint::Console { "password" } else { "" };
        output::data(&format!("{name:<12}last used at {place}: {}", usage::password_use(&done, entrance)))?;
    }
    output::data(&usage::describe(&done, "allow-list  ".len()))
}

pub(super) fn access(operator: &Operator, name: &UserName, json: bool) -> Result<()> {
    let table = operator.run(operator.control.access(name))?;
    if json {
        let cell = |cell: &AccessCell| json!({ "admitted": cell.admits(), "note": cell.note() });
        return output::data(
            &json!({
                "console": { "password": cell(&table.console_password), "api_key": null },
                "api": { "password": cell(&table.api_password), "api_key": cell(&table.api_key) },
                "isproxy": { "password": cell(&table.isproxy_password), "api_key": cell(&table.isproxy_key) },
            })
            .to_string(),
        );
    }
    let row =
        |entrance: &str, password: &AccessCell, key: String| [entrance.to_owned(), password.to_string(), key];
    output::table(
        ["", "PASSWORD", "API KEY"],
        vec![
            row("console", &table.console_password, String::from("–")),
            row("api", &table.api_password, table.api_key.to_string()),
            row("isproxy", &table.isproxy_password, table.isproxy_key.to_string()),
        ],
    )?;
    let user = operator.run(operator.control.user(name))?;
    for (whose, list) in [("customer", &user.customer_allow_list), ("user", &user.allow_list)] {
        if !list.is_empty() {
            output::note(&format!("all of it only from the networks of the {whose}'s list: {list}"));
        }
    }
    Ok(())
}

fn rights(user: &UserRecord) -> String {
    if user.administrator { String::from("administrator") } else { user.permissions.to_string() }
}

fn mfa_word(user: &UserRecord) -> &'static str {
    match mfa_state(user) {
        MfaState::Off => "off",
        MfaState::RequiredNotSetUp => "required, not set up",
        MfaState::On => "on",
    }
}

fn as_json(user: &UserRecord) -> Value {
    let list: Vec<String> = user.allow_list.networks().iter().map(ToString::to_string).collect();
    let permissions: Vec<&str> =
        Permission::ALL.into_iter().filter(|p| user.permissions.holds(*p)).map(Permission::as_str).collect();
    json!({
        "user": user.name.to_string(),
        "name": user.full_name,
        "email": user.email,
        "administrator": user.administrator,
        "permissions": permissions,
        "access": user.access_points.to_string(),
        "mfa": mfa_word(user),
        "active": user.active,
        "has_password": user.password_hash.is_some(),
        "password_off_by_key": user.password_off_by_key,
        "allow_list": list,
        "created_at": user.created_at.to_string(),
    })
}
