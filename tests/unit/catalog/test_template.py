import pytest
from support.records import GROUPS

from gateway.catalog.document import CatalogError
from gateway.catalog.template import Template, TemplatePolicy, read_templates
from gateway.tokens.resource import Scope

ZONE = '[[template.policy]]\nscope = "com.cloudflare.api.account.zone"\n'
HEAD = '[[template]]\nname = "Edit"\ndescription = "Edit things."\n'


def read(text: str) -> tuple[Template, ...]:
    return read_templates("templates.toml", text, GROUPS)


def test_a_template_is_what_its_file_says() -> None:
    text = (
        HEAD
        + ZONE
        + 'permission_groups = ["DNS Write", "Zone Read"]\nresources = "choose"\n'
        + '[[template.policy]]\nscope = "com.cloudflare.api.user"\n'
        + 'permission_groups = ["User Details Read"]\nresources = "all"\n'
    )
    groups = [GROUPS.named(name, Scope.ZONE) for name in ("DNS Write", "Zone Read")]
    details = GROUPS.named("User Details Read", Scope.USER)
    assert details is not None
    assert read(text) == (
        Template(
            "Edit",
            "Edit things.",
            (
                TemplatePolicy(Scope.ZONE, tuple(group for group in groups if group), "choose"),
                TemplatePolicy(Scope.USER, (details,), "all"),
            ),
        ),
    )


def test_templates_keep_their_order() -> None:
    policy = ZONE + 'permission_groups = ["DNS Read"]\nresources = "all"\n'
    text = HEAD + policy + HEAD.replace('"Edit"', '"Again"') + policy
    assert [template.name for template in read(text)] == ["Edit", "Again"]


@pytest.mark.parametrize("scope", [Scope.ZONE, Scope.ACCOUNT, Scope.USER])
def test_every_read_means_each_read_group_of_that_scope_and_no_other(scope: Scope) -> None:
    text = HEAD + f'[[template.policy]]\nscope = "{scope}"\nevery = "Read"\nresources = "all"\n'
    ((policy,),) = (template.policies for template in read(text))
    assert set(policy.groups) == {
        group for group in GROUPS if scope in group.scopes and group.name.lower().endswith(" read")
    }
    assert policy.groups


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("[[template]\n", ["not TOML"], id="no TOML"),
        pytest.param("", ["`template`"], id="nothing"),
        pytest.param(HEAD, ["template[0]", "`policy`"], id="no policy"),
        pytest.param(HEAD + "policy = []\n", ["template[0].policy"], id="an empty list of policies"),
        pytest.param(
            HEAD + '[[template.policy]]\nscope = "zone"\nresources = "all"\n',
            ["template[0].policy[0].scope"],
            id="an unknown scope",
        ),
        pytest.param(
            HEAD + ZONE + 'resources = "some"\npermission_groups = ["DNS Read"]\n',
            ["template[0].policy[0].resources"],
            id="another word for resources",
        ),
        pytest.param(
            HEAD + ZONE + 'resources = "all"\nevery = "Write"\n', ["template[0].policy[0].every"], id="every Write"
        ),
        pytest.param(
            HEAD + ZONE + 'resources = "all"\ngroups = []\n',
            ["template[0].policy[0].groups: unknown key"],
            id="an unknown key",
        ),
        pytest.param(
            HEAD + ZONE + 'resources = "all"\npermission_groups = ["DNS Raed"]\n',
            ["template 'Edit'", "'DNS Raed'", "on a zone"],
            id="an unknown group",
        ),
        pytest.param(
            HEAD + ZONE + 'resources = "all"\npermission_groups = ["Billing Read"]\n',
            ["template 'Edit'", "'Billing Read'", "on a zone"],
            id="a group of another scope",
        ),
        pytest.param(
            HEAD + ZONE + 'resources = "all"\n', ["template 'Edit'", "permission_groups or every"], id="neither"
        ),
        pytest.param(
            HEAD + ZONE + 'resources = "all"\nevery = "Read"\npermission_groups = ["DNS Read"]\n',
            ["template 'Edit'", "permission_groups or every"],
            id="both",
        ),
    ],
)
def test_what_is_wrong_is_told_with_file_and_template(text: str, says: list[str]) -> None:
    with pytest.raises(CatalogError) as raised:
        read(text)
    message = str(raised.value)
    assert message.startswith("templates.toml: ")
    for word in says:
        assert word in message


def test_all_faults_of_all_templates_are_told_each_with_its_line() -> None:
    text = (
        (HEAD + ZONE + 'resources = "all"\npermission_groups = ["DNS Raed"]\n')
        + (ZONE + 'resources = "all"\n')
        + "[[template]]\nname = 'Other'\n"
    )
    with pytest.raises(CatalogError) as raised:
        read(text)
    lines = text.splitlines()
    assert [fault.key for fault in raised.value.faults] == [
        "template[0].policy[0].permission_groups",
        "template[0].policy[1]",
        "template[1]",
        "template[1]",
    ]
    assert [lines[fault.line - 1] for fault in raised.value.faults] == [
        'permission_groups = ["DNS Raed"]',
        "[[template.policy]]",
        "[[template]]",
        "[[template]]",
    ]


def test_a_template_whose_holder_makes_tokens_says_so() -> None:
    text = (
        HEAD.replace("[[template]]\n", "[[template]]\npasses_on = true\n", 1)
        + ZONE
        + 'resources = "all"\nevery = "Read"\n'
    )
    (found,) = read(text)
    assert found.passes_on
