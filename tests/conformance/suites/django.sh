#!/usr/bin/env bash
# Django's tests of databases: its backends, the ORM, schema changes, migrations, transactions and django.contrib.postgres.
. "$(dirname "${BASH_SOURCE[0]}")/python.sh"

VERSION=5.2.19
LABELS=${SUITE_ONLY:-aggregation aggregation_regress annotations backends basic bulk_create cache constraints
    contenttypes_tests custom_columns custom_lookups custom_pk datatypes dates datetimes db_functions db_typecasts db_utils
    defer delete delete_regress distinct_on_fields expressions expressions_case expressions_window extra_regress
    field_defaults filtered_relation fixtures force_insert_update foreign_object from_db_value generic_relations
    get_or_create indexes inspectdb introspection invalid_models_tests lookup m2m_through many_to_many many_to_one
    migrate_signals migration_test_data_persistence migrations model_fields model_inheritance null_fk null_queries
    one_to_one or_lookups order_with_respect_to ordering pagination postgres_tests prefetch_related queries
    queryset_pickle raw_query reserved_names save_delete_hooks schema select_for_update select_related
    sessions_tests string_lookup timezones transaction_hooks transactions update update_only_fields validators
    xor_lookups}

make_django() {
    fetch_source "django==$VERSION"
    install asgiref sqlparse 'psycopg[binary,pool]==3.3.9' tblib
    # A Python that knows both by itself: a test starts another process with a PYTHONPATH of its own.
    python3 -m venv --without-pip env
    printf '%s\n' "$SUITE_CACHE/django-$VERSION/packages" "$SUITE_CACHE/django-$VERSION/source" \
        >"$(echo env/lib/python3*/site-packages)/suite.pth"
}

prepare() {
    need python3
    once "django-$VERSION" make_django
}

run() {
    local place=$SUITE_CACHE/django-$VERSION
    cd "$place/source/tests"
    PYTHONPATH=$here PYTHONDONTWRITEBYTECODE=1 timeout "${SUITE_BOUND:-1700}" \
        "$place/env/bin/python3" -B ./runtests.py --settings=django_settings --parallel=1 --noinput $LABELS \
        >"$SUITE_OUT/log" 2>&1 || true
}

main "$@"
