-- What we hold of a person, handed to them in the chat.
alter table tenant add column export_asked_until timestamptz;
alter table tenant add column export_due timestamptz;
alter table tenant add column export_by timestamptz;
create index tenant_export on tenant (export_due) where export_due is not null;
comment on column tenant.export_asked_until is 'Until then the one word that we asked for has us send them all that we hold of them; null: we did not ask.';
comment on column tenant.export_due is 'They want all that we hold of them: when that is next tried; null: they do not, or have it.';
comment on column tenant.export_by is 'When we give it up and say so.';
comment on column inbox.outcome is 'How: that of its turn; or refused, over_limit, opted_out, erased, restored, unsupported, empty, noted, taken_back, invited, agreed, declined, undecided, receipt, call, rekeyed, unknown, unknown_line; of a command: stop, fresh, help, opt_out, opt_in, delete_asked, delete_confirmed, export_asked, export_confirmed.';
