"""What is recorded in one thread of a forward pass: its calls of modules and its operators."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Self

import torch
from torch import nn
from torch._C import (
    DispatchKey,
    _len_torch_dispatch_stack,
    _len_torch_function_stack,
    _pop_torch_function_stack,
)
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack
from torch.utils._pytree import tree_map

from convcost.nn.count import call_watch
from convcost.nn.count.autocast import Autocast
from convcost.nn.count.composites import COMPLEX_CONVOLUTIONS
from convcost.nn.count.function_calls import Functions
from convcost.nn.count.one_row import kind_of
from convcost.nn.count.operators import (
    REGISTERED,
    Verdict,
    cost,
    is_whole,
    join_complex_convolution,
    parts_of,
    verdict,
)
from convcost.nn.count.packed_weights import added_arguments
from convcost.nn.count.recount import reads_values
from convcost.nn.count.row import Row
from convcost.nn.count.shape_rules import kernel_output, meta_output
from convcost.nn.count.tensors import has_own_dispatch, in_order, tensors_in
from convcost.nn.count.traits import Traits, traits_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch._ops import HigherOrderOperator, OpOverload

    from convcost.nn.count.recording import Recording

HAS_PARTS: Final = frozenset({"flex_attention"})
"""Operators with functions among their arguments that compute more than these: their parts are recorded."""


class Lane(TorchDispatchMode):
    """What is recorded in one thread."""

    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False avoids the import of torch's dynamo, 800 modules."""
        return False

    def __init__(self, recorder: Recording) -> None:
        super().__init__()
        self._recorder = recorder
        self._rows: list[Row | Lane] = []
        self._paths: list[str] = []
        self._open: Row | None = None
        self.autocast = Autocast()
        self._before: call_watch.Lane | None = None
        self._depths = (0, 0)
        self._in_thread = False

    @property
    def path(self) -> str:
        """Path of the module that is running."""
        return self._paths[-1] if self._paths else ""

    @property
    def is_open(self) -> bool:
        """Whether a row is open, or nothing is recorded any more."""
        return self._open is not None or self._recorder.is_over

    @property
    def is_over(self) -> bool:
        """Whether the recording ended, though the thread goes on, as the worker of a pool does."""
        return self._recorder.is_over

    @property
    def is_running(self) -> bool:
        """Whether a module or function runs in a thread that the forward pass started."""
        return self._open is not None or len(self._paths) > 1

    def all_rows(self) -> list[Row]:
        """The rows, with those of the threads that were started here."""
        return [row for entry in self._rows for row in ([entry] if isinstance(entry, Row) else entry.all_rows())]

    def branches(self) -> list[Lane]:
        """The lanes of the threads that were started here, and of theirs."""
        started = [entry for entry in self._rows if isinstance(entry, Lane)]
        return [lane for branch in started for lane in (branch, *branch.branches())]

    def __enter__(self) -> Self:
        self._before = call_watch.switch_lane(self)
        self._depths = _len_torch_dispatch_stack(), _len_torch_function_stack()
        super().__enter__()
        self._functions = Functions(self, self._recorder.device, shows_cpu=self._recorder.shows_cpu)
        self._functions.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        dispatched, functions = self._depths
        while _len_torch_function_stack() > functions:  # an interrupt may have left modes on, or the functions paused
            _pop_torch_function_stack()
        del self._functions  # it refers to this lane
        while _len_torch_dispatch_stack() > dispatched:
            super().__exit__(*error)
        call_watch.switch_lane(self._before)

    def branch(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function as it is recorded when another thread runs it."""
        lane = Lane(self._recorder)
        lane._paths.append(self.path)
        lane._in_thread = True
        self._rows.append(lane)

        def run(*args: Any, **kwargs: Any) -> Any:
            if lane.is_over:
                return function(*args, **kwargs)
            with torch.no_grad(), lane:
                return function(*args, **kwargs)

        return run

    def add_constants(self, tensors: list[torch.Tensor]) -> None:
        """Record tensors that are made from numbers."""
        self._recorder.look_for_complex(tensors)
        self._recorder.memory.add_constants(tensors)

    def lose_sight(self, what: str) -> None:
        """Something runs in a thread that is not seen."""
        self._recorder.lose_sight(what)

    def note_values(self, what: str) -> None:
        """A function or operator reads values of tensors, or whether they have any."""
        self._recorder.note_values(what, self.path)

    def note_device(self) -> None:
        """Forward reads the device of a tensor."""
        self._recorder.note_device(self.path)

    def note_missed(self, what: str) -> None:
        """A function raises, or gives what a tensor with values gives otherwise."""
        self._recorder.note_missed(what, self.path)

    def call(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a module, in a row of its own if it is one row and none is open."""
        self.autocast.look()
        recorder, paths, depth = self._recorder, self._paths, len(self._paths)
        kind = kind_of(module)
        path = recorder.names.get(id(module))
        if path is None:
            path = recorder.path_outside(module)
        paths.append(path)
        paused, row = False, None
        try:
            if self._open is None and kind.is_one_row(module):
                # the functions of torch's own code are all in this row, and run faster unobserved
                paused = not self.autocast.is_on and kind.needs_no_observer(module) and self._functions.pause()
                inputs = tensors_in(in_order(module.forward, args, kwargs) if kwargs else args)
                row = self._open = Row(path, "", kind.name, module, inputs)
                recorder.look_for_complex(inputs)
            out = call_watch.module_call()(module, *args, **kwargs)
            if kind.is_scripted and self._open is not None:
                from convcost.nn.count.scripted import unseen_products

                self._open.uncounted.update(unseen_products() + Counter(self._open.uncounted))
            if row is not None:
                self.close(row, out)
        except BaseException as error:
            self._keep_done(row)
            recorder.blame(error, self.path, (args, kwargs))
            raise
        finally:
            del paths[depth:]
            if row is not None:
                self._open = None
            if paused:
                self._functions.resume()
        return out

    def call_function(self, row: Row, function: Callable[[], Any]) -> Any:
        """Call a function in a row of its own."""
        self._open = row
        self._recorder.look_for_complex(row.inputs)
        try:
            out = function()
            self.close(row, out)
        except BaseException:
            self._keep_done(row)
            raise
        finally:
            self._open = None
        return out

    def _keep_done(self, row: Row | None) -> None:
        """Keep a row whose call raised, if it has computed something: a hook may raise to end a model early."""
        if row is not None and (row.events or row.uncounted):
            self.close(row, None)

    def close(self, row: Row, output: Any) -> None:
        """Keep a row whose call is complete, unless it computed nothing."""
        row.in_thread = self._in_thread
        inputs = row.inputs
        if row.close(output):
            self._rows.append(row)
            self._recorder.memory.end_call(row, inputs, output)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run an operator and record its cost."""
        named = kwargs or {}
        if self._recorder.is_over:
            call_watch.notice(self._recorder.module)
            return func(*args, **named)
        if types and any(map(has_own_dispatch, types)):
            return NotImplemented  # the subclass runs the operator on tensors of its own, which come here again
        traits = traits_of(func)
        if traits.is_higher_order:
            return self._run_higher_order(func, args, named)
        if traits.is_composite and not any(one.is_nested for one in tensors_in(args)):  # so it is in inference mode
            return self._run_parts(func, self._observed(parts_of(func)), args, named)
        if self._open is not None:
            return self._run(self._open, traits, args, named)
        return self._in_row(traits.name, args, lambda row: self._run(row, traits, args, named))

    def run_composite(self, operator: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a composite operator and record it, unless it is itself a part of an operator that is recorded."""
        function = parts_of(operator)
        is_seen = self in _get_current_dispatch_mode_stack()
        return self._run_parts(operator, function, args, kwargs) if is_seen else function(*args, **kwargs)

    def _run_parts(
        self, operator: OpOverload, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run a composite operator by its parts, and record it instead of them where it is one."""
        name = operator.overloadpacket.__name__
        if is_whole(operator):
            return self._in_row(name, args, lambda row: self._run_whole(row, operator, function, args, kwargs))
        if name not in COMPLEX_CONVOLUTIONS or not any(map(torch.Tensor.is_complex, tensors_in(args))):
            return function(*args, **kwargs)

        def run(row: Row) -> Any:
            first = len(row.events)
            out = function(*args, **kwargs)
            row.events[first:] = join_complex_convolution(row.events[first:])
            return out

        return self._in_row(name, args, run)

    def _run_whole(
        self,
        row: Row,
        operator: OpOverload,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        parts = self._open = Row(row.path, "", "", None, [])
        args = self._cast(row, operator, args)
        try:
            out = function(*args, **kwargs)
        finally:
            self._open = row
        row.parts += parts.events
        row.new_storages.update(parts.new_storages)
        return self._record(row, traits_of(operator), args, kwargs, out)

    def _in_row(self, name: str, args: tuple[Any, ...], run: Callable[[Row], Any]) -> Any:
        """Run an operator in the open row, or in a row of its own."""
        if self._open is not None:
            return run(self._open)
        row = Row(self.path, name, name, None, tensors_in(args))
        return self.call_function(row, lambda: run(row))

    def _observed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function that is called while this mode handles an operator and is off, with the mode on."""

        def run(*args: Any, **kwargs: Any) -> Any:
            TorchDispatchMode.__enter__(self)
            try:
                return function(*args, **kwargs)
            finally:
                TorchDispatchMode.__exit__(self, None, None, None)

        return run

    def _run(self, row: Row, traits: Traits, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operator in a row."""
        func = traits.func
        if traits.may_overwrite:
            self._recorder.kept.before(func, args, kwargs)
        if traits.may_read_values and reads_values(func, args):
            self.note_values(traits.name)
        if self.autocast.is_on:
            args = self._cast(row, func, args)
        out = meta_output(func, args, kwargs) if self._recorder.has_rules else NotImplemented
        if out is NotImplemented:
            try:
                out = kernel_output(func, args, kwargs)
            except Exception:
                self.note_missed(traits.name)
                raise
        return self._record(row, traits, args, kwargs, out)

    def _cast(self, row: Row, func: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments of an operator as the user's autocast passes them on."""
        if self.autocast.is_on and self._recorder.device.type == "meta":
            args, casts = self.autocast.for_operator(func, args)
            row.new_storages.update(self._recorder.memory.add(casts))
        return args

    def _record(self, row: Row, traits: Traits, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Any:
        """Record an operator that was run as one operation."""
        recorder, func = self._recorder, traits.func
        tensors, outputs = tensors_in((args, kwargs) if kwargs else args), tensors_in(out)
        recorder.look_for_complex(outputs)
        if traits.is_view:
            outputs = []
        new = recorder.memory.add(outputs)
        if new:
            row.new_storages.update(new)
        elif outputs and traits.is_in_place:
            row.writes = True
        if recorder.suspicion is not None:
            recorder.suspicion.look(func, tensors, outputs if new else [], self.path)
        multiplied = recorder.memory.trace(row, tensors, outputs, new, decoding=traits.decoding)
        if traits.is_free and not REGISTERED:
            return out
        worth = verdict(func)
        if worth is Verdict.FREE:
            return out
        op = traits.qualified_name
        is_sized = not any(tensor.is_nested for tensor in tensors)
        try:
            price = cost(func, args, kwargs, out, tensors) if worth is Verdict.FORMULA and is_sized else None
        except Exception as error:
            recorder.fault = error
            raise
        if multiplied and (price is None or price.macs):
            factors = multiplied.keys() - set(map(id, added_arguments(func, args, kwargs)))
            row.multiplies_buffers |= not all(multiplied[one] for one in factors)
            sources = (source for one in factors for source in multiplied[one])
            recorder.memory.multiplied.update(dict.fromkeys(sources, row.path))
        if price is not None:
            row.add_event(op.rpartition(".")[2], price, tensors[0] if tensors else None)
        else:
            row.uncounted[op] = row.uncounted.get(op, 0) + 1
        return out

    def _run_higher_order(self, func: HigherOrderOperator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operator that takes functions, such as a loop: it is what its functions do.

        It is a row of its own where it has a formula, and listed where it calls none of them.
        """
        calls: list[str] = []
        if reads_values(func, args):
            self.note_values(func.name())

        def observed(value: Any) -> Any:
            if not callable(value) or isinstance(value, type):
                return value

            def run(*inputs: Any, **named: Any) -> Any:
                calls.append(func.name())
                return self._observed(value)(*inputs, **named)

            return run

        has_formula = verdict(func) is Verdict.FORMULA
        dense = func.py_kernels.get(DispatchKey.CompositeExplicitAutograd)
        if func.name() in HAS_PARTS and dense is not None and not has_formula:
            return self._observed(dense)(*args, **kwargs)
        if has_formula:
            from convcost.nn.count.inner_products import InnerProducts

            def run(row: Row) -> Any:
                products = InnerProducts(row)
                first = self._cast(row, func, args[:3])  # query, key and value
                out = func(*tree_map(products.of, (*first, *args[3:])), **tree_map(products.of, kwargs))
                return self._record(row, traits_of(func), (*first, *args[3:]), kwargs, out)

            return self._in_row(func.name(), args, run)
        out = func(*tree_map(observed, args), **tree_map(observed, kwargs))
        if calls:
            self._recorder.memory.add(tensors_in(out))
            return out
        return self._in_row(func.name(), args, lambda row: self._record(row, traits_of(func), args, kwargs, out))
