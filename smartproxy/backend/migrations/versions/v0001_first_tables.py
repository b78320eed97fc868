"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make all tables of an empty store."""
    op.create_table(
        "cas",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("entry", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cas")),
        sa.UniqueConstraint("name", name=op.f("uq_cas_name")),
    )
    op.create_table(
        "clients",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("entry", sa.JSON(), nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_version", sa.Text(), nullable=True),
        sa.Column("last_address", sa.Text(), nullable=True),
        sa.Column("certificate_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clients")),
        sa.UniqueConstraint("name", name=op.f("uq_clients_name")),
    )
    op.create_table(
        "events",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("level", sa.String(length=16), nullable=False),
        sa.Column("session", sa.Text(), nullable=True),
        sa.Column("partner", sa.Text(), nullable=True),
        sa.Column("telling", sa.Boolean(), nullable=False),
        sa.Column("fields", sa.JSON(), nullable=False),
        sa.Column("key", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sa.UniqueConstraint("key", name=op.f("uq_events_key")),
    )
    op.create_index("ix_events_name_time", "events", ["name", "time"], unique=False)
    op.create_index("ix_events_name_id", "events", ["name", "id"], unique=False)
    named = sa.text("partner IS NOT NULL")
    for kind in ("time", "id"):
        op.create_index(
            f"ix_events_partner_{kind}", "events", ["partner", kind], sqlite_where=named, postgresql_where=named
        )
    op.create_index(
        "ix_events_telling",
        "events",
        ["name", "time"],
        sqlite_where=sa.text("telling = 1"),
        postgresql_where=sa.text("telling"),
    )
    pressing = sa.text("level = 'warning' OR level = 'error' OR level = 'critical'")
    for kind in ("time", "id"):
        op.create_index(
            f"ix_events_pressing_{kind}",
            "events",
            ["level", kind],
            sqlite_where=pressing,
            postgresql_where=pressing,
        )
    inside = sa.text("source = 'backend' OR source = 'command'")
    for kind in ("time", "id"):
        op.create_index(
            f"ix_events_inside_{kind}", "events", ["source", kind], sqlite_where=inside, postgresql_where=inside
        )
    op.create_index(op.f("ix_events_session"), "events", ["session"], unique=False)
    op.create_index("ix_events_time", "events", ["time"], unique=False)
    op.create_index("ix_events_received", "events", ["received"], unique=False)
    op.create_table(
        "generations",
        sa.Column("number", _WHOLE, autoincrement=False, nullable=False),
        sa.Column("made", sa.DateTime(timezone=True), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("way", sa.String(length=16), nullable=False),
        sa.Column("change", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("document", sa.LargeBinary(), nullable=True),
        sa.Column("digest", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_generations")),
    )
    op.create_table(
        "identities",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=True),
        sa.Column("request", sa.LargeBinary(), nullable=True),
        sa.Column("planned", sa.LargeBinary(), nullable=True),
        sa.Column("planned_since", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identities")),
        sa.UniqueConstraint("name", name=op.f("uq_identities_name")),
    )
    op.create_table(
        "licences",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("proxy_id", sa.String(length=66), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("issued", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_licences")),
    )
    op.create_index(op.f("ix_licences_proxy_id"), "licences", ["proxy_id"], unique=False)
    op.create_table(
        "partners",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("entry", sa.JSON(), nullable=False),
        sa.Column("notes", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_partners")),
        sa.UniqueConstraint("name", name=op.f("uq_partners_name")),
    )
    op.create_table(
        "revocation_lists",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("issuer_key_sha256", sa.String(length=64), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("this_update", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_update", sa.DateTime(timezone=True), nullable=True),
        sa.Column("number", sa.Text(), nullable=True),
        sa.Column("width", _WHOLE, nullable=False),
        sa.Column("count", _WHOLE, nullable=False),
        sa.Column("octets", sa.LargeBinary(), nullable=False),
        sa.Column("loaded", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revocation_lists")),
        sa.UniqueConstraint(
            "issuer_key_sha256", "issuer", "scope", name=op.f("uq_revocation_lists_issuer_key_sha256_issuer_scope")
        ),
    )
    op.create_table(
        "settings",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_settings")),
    )
    op.create_table(
        "site",
        sa.Column("number", _WHOLE, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("authority_certificate", sa.Text(), nullable=False),
        sa.Column("authority_key", sa.LargeBinary(), nullable=False),
        sa.Column("https_certificate", sa.Text(), nullable=False),
        sa.Column("https_key", sa.LargeBinary(), nullable=False),
        sa.Column("page_certificate", sa.Text(), nullable=True),
        sa.Column("page_key", sa.LargeBinary(), nullable=True),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("store", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_site")),
    )
    op.create_table(
        "store_keys",
        sa.Column("number", _WHOLE, nullable=False),
        sa.Column("key", sa.String(length=8), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_store_keys")),
    )
    op.create_table(
        "crl_urls",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("ca", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("first_seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_crl_urls")),
        sa.UniqueConstraint("ca", "url", name=op.f("uq_crl_urls_ca_url")),
    )
    op.create_table(
        "seen_certificates",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("ca", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("serial", sa.Text(), nullable=False),
        sa.Column("crl_points", sa.JSON(), nullable=False),
        sa.Column("not_after", sa.DateTime(timezone=True), nullable=False),
        sa.Column("first_seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("key_sha256", sa.String(length=64), nullable=True),
        sa.Column("proved", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_seen_certificates")),
        sa.UniqueConstraint("partner", "sha256", name=op.f("uq_seen_certificates_partner_sha256")),
    )
    op.create_table(
        "trials",
        sa.Column("number", _WHOLE, nullable=False),
        sa.Column("session", sa.String(length=16), nullable=False),
        sa.Column("partner", sa.Text(), nullable=True),
        sa.Column("asked", sa.DateTime(timezone=True), nullable=False),
        sa.Column("wish", sa.String(length=16), nullable=True),
        sa.Column("level", sa.String(length=16), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_trials")),
    )
    op.create_table(
        "withdrawn",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("begins_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("forget", sa.DateTime(timezone=True), nullable=False),
        sa.Column("token_sha256", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_withdrawn")),
    )
    # History.
    op.create_table(
        "differences",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("generation", _WHOLE, nullable=False),
        sa.Column("subject", sa.String(length=16), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("before", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("after", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("secret", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_differences")),
    )
    op.create_index(op.f("ix_differences_generation"), "differences", ["generation"], unique=False)
    # Downloads of revocation lists.
    op.create_table(
        "list_downloads",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("ca", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("proposed", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rejected", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tried", sa.DateTime(timezone=True), nullable=True),
        sa.Column("succeeded", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_try", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", _WHOLE, nullable=False),
        sa.Column("fault", sa.Text(), nullable=True),
        sa.Column("etag", sa.Text(), nullable=True),
        sa.Column("modified", sa.Text(), nullable=True),
        sa.Column("list", _WHOLE, nullable=True),
        sa.Column("made", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_list_downloads")),
        sa.UniqueConstraint("ca", "url", name=op.f("uq_list_downloads_ca_url")),
    )
    # The audit trail.
    op.create_table(
        "audit_records",
        sa.Column("number", _WHOLE, autoincrement=False, nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit_records")),
    )
    # Alerts.
    op.create_table(
        "alerts",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("event", _WHOLE, nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("received", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", _WHOLE, nullable=False),
        sa.Column("ended", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("exit_status", _WHOLE, nullable=True),
        sa.Column("output", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
    )
    op.create_index("ix_alerts_event", "alerts", ["event"])
    op.create_index("ix_alerts_state_due", "alerts", ["state", "due"])
    op.create_table(
        "ignore_rules",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("entry", sa.JSON(), nullable=False),
        sa.Column("hits", _WHOLE, nullable=False),
        sa.Column("told", _WHOLE, nullable=False),
        sa.Column("last_hit", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_event", _WHOLE, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ignore_rules")),
        sa.UniqueConstraint("name", name=op.f("uq_ignore_rules_name")),
    )
    # The licences that servers say to have.
    op.create_table(
        "server_licences",
        sa.Column("proxy_id", sa.String(length=66), nullable=False),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reported", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("proxy_id", name=op.f("pk_server_licences")),
    )
    # Ends that were told.
    op.create_table(
        "told_endings",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("mark", _WHOLE, nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_told_endings")),
    )
    # Administrators of the API.
    op.create_table(
        "administrators",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("entry", sa.JSON(), nullable=False),
        sa.Column("last_used", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_address", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_administrators")),
        sa.UniqueConstraint("name", name=op.f("uq_administrators_name")),
    )
    op.create_table(
        "answered_calls",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request", sa.String(length=64), nullable=False),
        sa.Column("answer", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("answered", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_answered_calls")),
        sa.UniqueConstraint("caller", "key", name=op.f("uq_answered_calls_caller_key")),
    )
    op.create_index(op.f("ix_answered_calls_answered"), "answered_calls", ["answered"])
    # Certificates that partners came with.
    op.create_table(
        "proposals",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("serial", sa.Text(), nullable=False),
        sa.Column("not_after", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cas", sa.Text(), nullable=False),
        sa.Column("old", _WHOLE, nullable=False),
        sa.Column("first_seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("peer", sa.Text(), nullable=True),
        sa.Column("outgoing", sa.Boolean(), nullable=False),
        sa.Column("rejected", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proposals")),
        sa.UniqueConstraint("sha256", "outgoing", name=op.f("uq_proposals_sha256_outgoing")),
    )
    op.create_index(op.f("ix_proposals_partner"), "proposals", ["partner"], unique=False)
    # What is watched of partners.
    op.create_table(
        "watch_cursors",
        sa.Column("number", _WHOLE, nullable=False),
        sa.Column("event", _WHOLE, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_watch_cursors")),
    )
    op.create_table(
        "watched_partners",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_session", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_file", sa.DateTime(timezone=True), nullable=True),
        sa.Column("silent_told", sa.DateTime(timezone=True), nullable=True),
        sa.Column("no_files_told", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_watched_partners")),
    )
    op.create_table(
        "awaited_responses",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("link", sa.String(length=8), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("stamp", sa.Text(), nullable=False),
        sa.Column("originator", sa.Text(), nullable=False),
        sa.Column("ended", sa.DateTime(timezone=True), nullable=False),
        sa.Column("told", sa.DateTime(timezone=True), nullable=True),
        sa.Column("named", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_awaited_responses")),
    )
    op.create_index(op.f("ix_awaited_responses_ended"), "awaited_responses", ["ended"])
    op.create_index(op.f("ix_awaited_responses_partner"), "awaited_responses", ["partner"])
    # Users of the page.
    op.create_table(
        "users",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("entry", sa.JSON(), nullable=False),
        sa.Column("password", sa.Text(), nullable=False),
        sa.Column("last_login", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_address", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("name", name=op.f("uq_users_name")),
    )
    op.create_table(
        "logins",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("cookie_sha256", sa.String(length=64), nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("made", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends", sa.DateTime(timezone=True), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("browser", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_logins")),
        sa.UniqueConstraint("cookie_sha256", name=op.f("uq_logins_cookie_sha256")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_logins_user"), "logins", ["user"], unique=False)
    op.create_table(
        "second_factors",
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("confirmed", sa.Boolean(), nullable=False),
        sa.Column("step", _WHOLE, nullable=False),
        sa.Column("recovery", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("user", name=op.f("pk_second_factors")),
    )
    # Sessions.
    op.create_table(
        "sessions",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("session", sa.String(length=64), nullable=False),
        sa.Column("received", sa.DateTime(timezone=True), nullable=False),
        sa.Column("partner", sa.Text(), nullable=True),
        sa.Column("direction", sa.String(length=16), nullable=True),
        sa.Column("peer", sa.Text(), nullable=True),
        sa.Column("began", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("octets_in", _WHOLE, nullable=False),
        sa.Column("octets_out", _WHOLE, nullable=False),
        sa.Column("files_in", _WHOLE, nullable=False),
        sa.Column("files_out", _WHOLE, nullable=False),
        sa.Column("settled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("session", name=op.f("uq_sessions_session")),
    )
    op.create_index("ix_sessions_began", "sessions", ["began"], unique=False)
    op.create_index("ix_sessions_partner_id", "sessions", ["partner", "id"], unique=False)
    op.create_index("ix_sessions_outcome_id", "sessions", ["outcome", "id"], unique=False)
    op.create_index("ix_sessions_received", "sessions", ["received"], unique=False)
    op.create_table(
        "session_files",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("session", sa.String(length=64), nullable=False),
        sa.Column("received", sa.DateTime(timezone=True), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("link", sa.String(length=8), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("octets", _WHOLE, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session_files")),
    )
    op.create_index("ix_session_files_session", "session_files", ["session"], unique=False)
    op.create_index("ix_session_files_dataset_session", "session_files", ["dataset", "session"], unique=False)
    op.create_index("ix_session_files_received", "session_files", ["received"], unique=False)
    op.create_table(
        "session_records",
        sa.Column("session", sa.String(length=64), nullable=False),
        sa.Column("received", sa.DateTime(timezone=True), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("packed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("session", name=op.f("pk_session_records")),
    )
    op.create_index("ix_session_records_received", "session_records", ["received"], unique=False)
    op.create_table(
        "live_reports",
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("received", sa.DateTime(timezone=True), nullable=False),
        sa.Column("count", _WHOLE, nullable=False),
        sa.Column("sessions", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("client", name=op.f("pk_live_reports")),
    )
    op.create_table(
        "node_loads",
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("told", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cpu", _WHOLE, nullable=True),
        sa.Column("memory", _WHOLE, nullable=True),
        sa.Column("sessions", _WHOLE, nullable=True),
        sa.Column("sessions_most", _WHOLE, nullable=True),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pk_node_loads")),
    )
    op.create_table(
        "figures",
        sa.Column("span", sa.String(length=8), nullable=False),
        sa.Column("begins", sa.DateTime(timezone=True), nullable=False),
        sa.Column("name", sa.String(length=96), nullable=False),
        sa.Column("count", _WHOLE, nullable=False),
        sa.PrimaryKeyConstraint("span", "begins", "name", name=op.f("pk_figures")),
    )
    # Calls that wait for a second administrator.
    op.create_table(
        "awaited_seconds",
        sa.Column("request", sa.String(length=64), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("request", name=op.f("pk_awaited_seconds")),
    )
    # Trust lists.
    op.create_table(
        "trust_lists",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("entry", sa.JSON(), nullable=False),
        sa.Column("sequence", _WHOLE, nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=True),
        sa.Column("issued", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_update", sa.DateTime(timezone=True), nullable=True),
        sa.Column("taken", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_try", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", _WHOLE, nullable=False),
        sa.Column("fault", sa.Text(), nullable=True),
        sa.Column("etag", sa.Text(), nullable=True),
        sa.Column("modified", sa.Text(), nullable=True),
        sa.Column("told_over", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trust_lists")),
        sa.UniqueConstraint("name", name=op.f("uq_trust_lists_name")),
    )
    op.create_table(
        "listed_cas",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("trust_list", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("certificate", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("good", sa.Boolean(), nullable=False),
        sa.Column("addresses", sa.JSON(), nullable=False),
        sa.Column("not_after", sa.DateTime(timezone=True), nullable=False),
        sa.Column("first_seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rejected", sa.DateTime(timezone=True), nullable=True),
        sa.Column("told", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_listed_cas")),
        sa.UniqueConstraint("trust_list", "sha256", name=op.f("uq_listed_cas_trust_list_sha256")),
    )
    op.create_index(op.f("ix_listed_cas_trust_list"), "listed_cas", ["trust_list"])
    # The mail that tries the settings.
    op.create_table(
        "mail_tests",
        sa.Column("number", _WHOLE, nullable=False),
        sa.Column("asked", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("ended", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_mail_tests")),
    )
