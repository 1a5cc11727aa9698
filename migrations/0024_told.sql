-- What an agent knows of its person is compared with what holds, whoever changed it.

alter table sandbox add column told text;
comment on column sandbox.told is 'What its agent was last told of its person beside the name: what an operator says of them, as JSON. Null: nothing yet, or its files are another time''s.';
comment on column tenant.role_is_new is 'No longer read.';
