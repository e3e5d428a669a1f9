"""Squares numbers until there is a None."""
from connected import manager

m = manager('get_tasks', 'get_my_list')
tasks, squares = m.get_tasks(), m.get_my_list()
while True:
    number = tasks.get()
    if number is None:
        break
    squares.append(number * number)
    tasks.task_done()
