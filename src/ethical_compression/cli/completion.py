"""`completion` prints what a shell needs to complete this program's commands and options."""

import argparse

EXAMPLES = """\
examples:
  in bash, from now on         ethical-compression completion bash >> ~/.bash_completion
  in zsh, from now on          ethical-compression completion zsh >> ~/.zshrc
  in this shell alone          eval "$(ethical-compression completion bash)" """
SHELLS = ("bash", "zsh")
# Files are offered by the shell itself wherever none of these words fits.
SCRIPT = """\
_ethical_compression() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" words=""
  if [ "$COMP_CWORD" = 1 ]; then
    words="{commands}"
  else
    case "${{COMP_WORDS[1]}} ${{COMP_WORDS[COMP_CWORD-1]}}" in
{values}
      *) case "${{COMP_WORDS[1]}} $word" in
{options}
      esac ;;
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _ethical_compression ethical-compression"""


def add(commands) -> None:
    """Tell the parser of the command."""
    command = commands.add_parser("completion", help="let the shell complete commands and options")
    command.about = lambda: EXAMPLES
    command.add_argument("shell", choices=SHELLS)
    command.set_defaults(
        func=lambda given: print(script(given.shell, commands.choices)),
        interrupted="nothing was printed.",
    )


def script(shell: str, commands: dict[str, argparse.ArgumentParser]) -> str:
    """The lines for a shell of `SHELLS`. commands: the parser of each, by name.

    Offered are the commands, the options of a command where a word begins with a dash, and the
    values of what has a fixed set of them; files are offered by the shell itself.
    """
    values, options = [], []
    for name, parser in commands.items():
        given = [one for one in parser._actions if one.help != argparse.SUPPRESS]
        for one in given:
            if one.choices and one.option_strings:
                asked = "|".join(f'"{name} {flag}"' for flag in one.option_strings)
                values.append(f'      {asked}) words="{_words(one.choices)}" ;;')
        flags = [flag for one in given for flag in one.option_strings]
        options.append(f'        "{name} -"*) words="{_words(flags)}" ;;')
        if fixed := [one for one in given if one.choices and not one.option_strings]:
            options.append(f'        "{name} "*) words="{_words(fixed[0].choices)}" ;;')
    found = SCRIPT.format(
        commands=_words(commands), values="\n".join(values), options="\n".join(options)
    )
    return found if shell == "bash" else f"autoload -U +X bashcompinit && bashcompinit\n{found}"


def _words(some) -> str:
    """As bash splits them again: a value of two words would be two values, and is left out."""
    return " ".join(one for one in map(str, some) if " " not in one)
