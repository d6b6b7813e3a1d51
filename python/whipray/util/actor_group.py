"""Several actors of one class that are called together."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

from whipray._private import api


@dataclass
class ActorWrapper:
    """An actor and what is known of the process it lives in."""

    actor: Any
    metadata: Any


@dataclass
class ActorConfig:
    """What each actor of a group is started with."""

    num_cpus: float
    num_gpus: float
    resources: dict[str, float] | None
    init_args: tuple[Any, ...]
    init_kwargs: dict[str, Any]


class ActorGroupMethod:
    """`group.method`: `.remote()` calls it on every actor."""

    def __init__(self, actor_group: ActorGroup, method_name: str) -> None:
        self.actor_group = weakref.ref(actor_group)
        self._method_name = method_name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            "ActorGroup methods cannot be called directly. Instead of running "
            f"'object.{self._method_name}()', try 'object.{self._method_name}.remote()'."
        )

    def remote(self, *args: Any, **kwargs: Any) -> list[Any]:
        """One reference for each actor."""
        group = self.actor_group()
        actors = [] if group is None else group.actors
        return [getattr(a.actor, self._method_name).remote(*args, **kwargs) for a in actors]


class ActorGroup:
    """Starts `num_actors` actors; its attributes are their methods."""

    def __init__(
        self,
        actor_cls: type[Any],
        num_actors: int = 1,
        num_cpus_per_actor: float = 1,
        num_gpus_per_actor: float = 0,
        resources_per_actor: dict[str, float] | None = None,
        init_args: tuple[Any, ...] | None = None,
        init_kwargs: dict[str, Any] | None = None,
    ) -> None:
        if num_actors <= 0:
            raise ValueError(
                f"The provided `num_actors` must be greater than 0. Received {num_actors}."
            )
        if num_cpus_per_actor < 0 or num_gpus_per_actor < 0:
            raise ValueError("The number of CPUs and GPUs per actor must not be negative.")
        self.actors: list[ActorWrapper] = []
        self.num_actors = num_actors
        self.actor_config = ActorConfig(
            num_cpus_per_actor,
            num_gpus_per_actor,
            resources_per_actor,
            init_args or (),
            init_kwargs or {},
        )
        self._remote_cls: Any = api.remote(
            num_cpus=num_cpus_per_actor,
            num_gpus=num_gpus_per_actor,
            resources=resources_per_actor,
        )(actor_cls)
        self.start()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "actors" not in self.__dict__:
            raise AttributeError(name)
        if not self.actors:
            raise RuntimeError("This ActorGroup has been shutdown. Please start it again.")
        return ActorGroupMethod(self, name)

    def __len__(self) -> int:
        return len(self.actors)

    def __getitem__(self, index: Any) -> Any:
        return self.actors[index]

    def start(self) -> None:
        """Start the actors; RuntimeError if they run."""
        if self.actors:
            raise RuntimeError(
                "The actors have already been started. Please call `shutdown` first if you want to "
                "restart them."
            )
        self.add_actors(self.num_actors)

    def shutdown(self, patience_s: float = 5) -> None:
        """End the actors: after their running calls if these end in time, else at once."""
        if patience_s > 0:
            done = [wrapper.actor.__ray_terminate__.remote() for wrapper in self.actors]
            left = bool(api.wait(done, num_returns=len(done), timeout=patience_s)[1])
        else:
            left = True
        for wrapper in self.actors if left else ():
            api.kill(wrapper.actor)
        self.actors = []

    def remove_actors(self, actor_indexes: list[int]) -> None:
        """Take the actors with these indexes out of the group."""
        self.actors = [a for i, a in enumerate(self.actors) if i not in actor_indexes]

    def add_actors(self, num_actors: int) -> None:
        """Start more actors."""
        config = self.actor_config
        self.actors += [
            ActorWrapper(self._remote_cls.remote(*config.init_args, **config.init_kwargs), None)
            for _ in range(num_actors)
        ]

    @property
    def actor_metadata(self) -> list[Any]:
        """What is known of the actors' processes."""
        return [wrapper.metadata for wrapper in self.actors]
