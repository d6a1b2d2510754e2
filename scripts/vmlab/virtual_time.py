class VirtualRun: pass
def run_virtual_time(): pass
