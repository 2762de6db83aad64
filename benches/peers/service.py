"""The peer of the listener: a webhook service as FastAPI and asyncpg make it, in front of whaply's own tables.

It does what ingest does for a customer's message and for the owner's, one transaction a webhook: secret,
session, duplicate, pause, message, reply. It knows no aliases, receipts or edits, and it answers no customer.
"""

import hmac
import os
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone

import asyncpg
import orjson
from fastapi import FastAPI, HTTPException, Request

POOL_SIZE = 16
DEBOUNCE = timedelta(seconds=5)
DEBOUNCE_MAX = timedelta(seconds=30)
AGE_LIMIT = timedelta(hours=1)

# asyncpg prepares each of these once a connection.
TENANT = "SELECT id, webhook_secret, mode FROM whaply.tenants WHERE instance_name = $1"

SESSION = """
INSERT INTO whaply.sessions AS s (tenant_id, chat_id, last_message_at, contact_name, reply_jid)
VALUES ($1, $2, $3, $4, $2)
ON CONFLICT (tenant_id, chat_id) DO UPDATE
   SET last_message_at = greatest(s.last_message_at, excluded.last_message_at), contact_name = excluded.contact_name,
       reply_jid = excluded.reply_jid, updated_at = excluded.updated_at
RETURNING is_paused
"""

TAKEOVER = """
INSERT INTO whaply.sessions AS s (tenant_id, chat_id, is_paused, pause_reason, last_human_at)
VALUES ($1, $2, true, 'human_takeover', $3)
ON CONFLICT (tenant_id, chat_id) DO UPDATE
   SET is_paused = true, pause_reason = 'human_takeover', last_human_at = greatest(s.last_human_at, excluded.last_human_at),
       updated_at = excluded.updated_at
"""

MESSAGE = """
INSERT INTO whaply.messages (tenant_id, chat_id, message_id, from_me, message_type, text, raw, sent_at, sender, status)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (tenant_id, message_id) DO NOTHING
"""

EVENT = """
INSERT INTO whaply.processed_events (tenant_id, message_id, event_type, action_taken)
VALUES ($1, $2, $3, $4)
ON CONFLICT (tenant_id, message_id, event_type) DO NOTHING
RETURNING id
"""

REPLY = """
INSERT INTO whaply.replies AS r (tenant_id, chat_id, due_at, first_sent_at)
VALUES ($1, $2, $3, $4)
ON CONFLICT (tenant_id, chat_id) WHERE state IN ('waiting', 'generating', 'sending') DO UPDATE
   SET wanted = r.wanted + 1, first_sent_at = least(r.first_sent_at, excluded.first_sent_at),
       due_at = least(excluded.due_at, r.created_at + $5)
"""

CANCEL = """
UPDATE whaply.replies SET state = 'cancelled', finished_at = now()
 WHERE tenant_id = $1 AND chat_id = $2 AND state IN ('waiting', 'generating', 'sending')
"""


class Duplicate(Exception):
    """Rolls back what was done for an event that has acted before."""


async def keep_session(_connection):
    """In place of asyncpg's reset, a round trip more for each webhook: nothing here changes the session."""


@asynccontextmanager
async def lifespan(app):
    app.state.pool = await asyncpg.create_pool(
        os.environ["DATABASE_URL"], min_size=POOL_SIZE, max_size=POOL_SIZE, reset=keep_session
    )
    yield
    app.state.pool.terminate()


app = FastAPI(lifespan=lifespan, openapi_url=None)


def text_of(message):
    if text := message.get("conversation"):
        return text
    for name, field in (
        ("extendedTextMessage", "text"), ("imageMessage", "caption"), ("videoMessage", "caption"),
        ("documentMessage", "caption"),
    ):
        if text := (message.get(name) or {}).get(field):
            return text
    return None


@app.get("/healthz")
async def healthz():
    return {"ok": await app.state.pool.fetchval("SELECT true")}


@app.post("/webhook")
async def webhook(request: Request):
    payload = orjson.loads(await request.body())
    event, data = payload["event"], payload["data"]
    async with app.state.pool.acquire() as connection:
        tenant = await connection.fetchrow(TENANT, payload["instance"])
        if tenant is None:
            raise HTTPException(404)
        if not hmac.compare_digest(tenant["webhook_secret"], request.headers.get("x-whaply-secret", "")):
            raise HTTPException(401)
        if event not in ("messages.upsert", "send.message"):
            return {"action": "ignored_event"}
        try:
            async with connection.transaction():
                action = await take(connection, tenant, event, data, payload)
        except Duplicate:
            return {"duplicate": True}
    return {"action": action, "duplicate": False}


async def take(connection, tenant, event, data, payload):
    tenant_id, key = tenant["id"], data["key"]
    chat_id, message_id, from_me = key["remoteJid"], key["id"], key["fromMe"]
    now = datetime.now(timezone.utc)
    sent_at = min(datetime.fromtimestamp(int(data["messageTimestamp"]), timezone.utc), now)

    if from_me:
        action, sender = "paused", "owner"
        await connection.execute(TAKEOVER, tenant_id, chat_id, sent_at)
    else:
        sender = "customer"
        is_paused = await connection.fetchval(SESSION, tenant_id, chat_id, sent_at, data.get("pushName"))
        action = "ignored_old" if sent_at + AGE_LIMIT < now else "ignored_paused" if is_paused else "ai_queued"

    payload.pop("apikey", None)
    await connection.execute(
        MESSAGE, tenant_id, chat_id, message_id, from_me, data["messageType"], text_of(data["message"]),
        orjson.dumps(payload).decode(), sent_at, sender, data.get("status"),
    )
    if await connection.fetchval(EVENT, tenant_id, message_id, event, action) is None:
        raise Duplicate
    if action == "ai_queued":
        await connection.execute(REPLY, tenant_id, chat_id, now + DEBOUNCE, sent_at, DEBOUNCE_MAX)
    elif action == "paused":
        await connection.execute(CANCEL, tenant_id, chat_id)
    return action
